import json
import pickle
import shlex
import signal

import pytest
from hydra.core.plugins import Plugins
from lightning.pytorch.utilities.exceptions import SIGTERMException

from hcexp.cli import multirun
from hcexp.cli.multirun import points
from hcexp.configuration import compose
from hcexp.run.run import Run


def results(tmp_path):
    return {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/result.json")}


def test_every_point_is_the_run_that_the_same_overrides_make_alone_and_a_failure_stops_no_other(
    hcexp, minute, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    status, out, err = hcexp("train", "-m", *minute, "optimizer.lr=1e30,1e-3")
    assert status == 1
    (line,) = [line for line in err.splitlines() if not line.startswith("tokens of ")]
    assert line.startswith("hcexp: failed: ") and "optimizer.lr=1e+30: loss is nan at step" in line
    found = results(tmp_path)
    overrides = [*minute, "optimizer.lr=0.001"]
    run = Run(compose(overrides), overrides)
    assert sorted((result["state"], name == run.identity) for name, result in found.items()) == [
        ("failed", False), ("finished", True),
    ]  # fmt: skip
    assert found[run.identity]["overrides"] == overrides
    (line,) = [line for line in out.splitlines() if line.startswith(f"{shlex.join(overrides)}: ")]
    trained, measured = (found[run.identity]["metrics"][name] for name in ("train/loss", "local/mean/loss"))
    assert line.endswith(f"train/loss {trained:.4f}  local/mean/loss {measured:.4f}  {run.directory}")
    # Hydra leaves nothing: neither here, nor beside the runs.
    assert list((tmp_path / "here").iterdir()) == []
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(found) and len(found) == 2


@pytest.fixture
def trained(monkeypatch):
    """The runs of a grid, which are not trained; a high learning rate makes one fail."""
    seen = []

    def train(self):
        seen.append(self)
        if self.config.optimizer.lr > 1:
            raise FloatingPointError("loss is nan")
        return {"metrics": {"train/loss": 1.0}}

    monkeypatch.setattr(Run, "train", train)
    return seen


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["residual=shc,dhcc"], "residual=dhcc is not known, did you mean dhc"),
        (["model.heads=2,5"], "model.heads=5 does not divide model.d=32"),
        (["seed=0,a"], "seed=a is not allowed: it must be a whole number"),
        (["seed=0,1", "trainer.devices=2"], "-m has one process a run, and trainer.devices=2 with trainer.num_nodes=1"),
        (["seed=0,1", "steps=1"], "schedule.warmup=1 counts steps: it must be 0 or more, and less than steps=1"),
        (["seed=0,1", "hydra/launcher=nowhere"], "hydra/launcher=nowhere is not known; choose from basic"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_before_any_run_starts(refused, minute, tmp_path, overrides, line):
    assert refused("train", "-m", *minute, *overrides).startswith(line)
    assert not (tmp_path / "runs").exists()


def test_choices_of_ones_own_are_found_and_a_glob_stands_for_all_that_it_matches(hcexp, minute, tmp_path, trained):
    own = tmp_path / "own" / "residual"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: hcexp.residual.StaticHyperConnections\n_partial_: true\nn: 3\n")
    search = f"hydra.searchpath=[file://{tmp_path}/own]"
    _, out, err = hcexp("train", "-m", *minute, search, "residual=mine", "schedule=glob([lin*,cos*])")
    assert [run.config.choices.schedule for run in trained] == ["cosine", "linear"] and "failed" not in err
    assert out.count("train/loss") == 2
    alone = [search, *minute, "residual=mine", "schedule=cosine"]
    assert Run(compose(alone), alone).identity == trained[0].identity


def test_a_password_is_neither_shown_nor_left(hcexp, minute, tmp_path, monkeypatch):
    """A tracking server that needs one stands among the overrides, which Hydra writes down while it works."""
    left = []

    def opened(uri, runs, experiment):
        left.append(uri)

    def train(self):
        (folder,) = (tmp_path / "runs").glob(".multirun-*")
        assert folder.stat().st_mode & 0o077 == 0
        raise ValueError("no server")

    monkeypatch.setattr(multirun, "open_store", opened)
    monkeypatch.setattr(Run, "train", train)
    secret = "tracking.uri=http://me:secret@127.0.0.1:9"
    own = [override for override in minute if not override.startswith("tracking")]
    status, out, err = hcexp("train", "-m", *own, secret)
    assert status == 1 and left == ["http://me:secret@127.0.0.1:9"]
    assert "secret" not in out + err and not (tmp_path / "runs").exists()


def test_a_signal_ends_the_whole_grid(hcexp, minute, tmp_path, monkeypatch):
    for error, ended in ((SIGTERMException, 128 + signal.SIGTERM), (KeyboardInterrupt, 130)):
        begun = []

        def train(self, begun=begun, error=error):
            begun.append(self.identity)
            raise error

        monkeypatch.setattr(Run, "train", train)
        status, _, err = hcexp("train", "-m", *minute, "seed=0,1")
        assert (status, len(begun)) == (ended, 1)
        assert err.endswith("hcexp: stopped; the same command goes on from the last checkpoint\n")
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("high", "expected"), [("1e30", 1), ("1e-2", 0)])
def test_a_run_that_fails_is_told_of_whoever_drew_its_values(
    hcexp, minute, tmp_path, monkeypatch, trained, high, expected
):
    instantiate = Plugins.instantiate_sweeper

    def drawing(self, **given):
        """A sweeper that knows intervals: it draws their two ends."""
        sweeper = instantiate(self, **given)
        sweep = sweeper.sweep
        sweeper.sweep = lambda arguments: sweep([argument.replace("interval(", "choice(") for argument in arguments])
        return sweeper

    monkeypatch.setattr(Plugins, "instantiate_sweeper", drawing)
    status, out, err = hcexp("train", "-m", *minute, f"optimizer.lr=interval(1e-3,{high})")
    assert (status, out.count("train/loss"), err.count("hcexp: failed: ")) == (expected, 2 - expected, expected)
    assert not (tmp_path / "runs").exists()


def test_what_is_about_one_run_does_not_go_with_a_grid_and_a_launcher_can_send_the_task(refused, minute):
    for option in (["--config"], ["--resume", "runs/0123456789abcdef"]):
        assert refused("train", "-m", *option, *minute) == "-m trains a grid: leave --config and --resume out"
    assert pickle.loads(pickle.dumps(multirun.train)) is multirun.train


def test_points_are_multiplied_as_hydra_does():
    made = [["a=1", f"b={b}", f"c={c}"] for b in (2, 3) for c in (0, 1)]
    assert points(["a=1", "b=2,3", "c=range(2)", "hydra/launcher=basic"]) == made
    assert points(["a=interval(0,1)"]) == []
