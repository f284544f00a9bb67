import csv
import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from rich.console import Console

from hcexp.analysis import connection_matrices, read_connections
from hcexp.analysis.written import read_about, read_numbers
from hcexp.callbacks import latest
from hcexp.cli.analyse import analyse_runs
from hcexp.configuration import compose
from hcexp.run.run import Run
from tests.registered import MODES
from tests.residual.test_adding_a_mode import MODE, my_modes  # noqa: F401

KNOBS = ["callbacks.checkpoint.every_n_steps=3"]
FIGURES = {"connections", "similarity", "coefficients", "gains", "streams", "ranks", "gradients", "sets", "training"}


@pytest.fixture
def trained(minute):
    """Trains a minute run with more overrides; gives its folder."""

    def train(*overrides):
        arguments = [*minute, *KNOBS, *overrides]
        run = Run(compose(arguments), arguments)
        run.train()
        return run.directory

    return train


@pytest.fixture
def rendered():
    """Figures are rendered, which takes seconds."""


@pytest.fixture(autouse=True)
def unseen(request, monkeypatch):
    """Figures are composed, but of each its words alone are written, unless a test asks for `rendered` ones."""
    if "rendered" in request.fixturenames:
        return

    def save(drawn, folder, name):
        assert drawn.axes
        for path in (paths := [folder / f"{name}.png", folder / f"{name}.svg"]):
            path.write_text("\n".join(text.get_text() for text in drawn.findobj(Text)))
        return paths

    monkeypatch.setattr("hcexp.analysis.figures.save", save)


@pytest.fixture
def analyse(hcexp):
    """Runs `hcexp analyse`, which must succeed; gives what it printed."""

    def call(*arguments):
        status, out, err = hcexp("analyse", *arguments)
        assert status == 0, err
        return out

    return call


def pngs(folder):
    return {path.stem for path in folder.glob("*.png")}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def figures_of(trained, analyse):
    """Trains and analyses a run; gives the folder of its figures, which are all there."""

    def call(*overrides):
        run = trained(*overrides)
        assert "step 6 of 6, 9 figures" in analyse(run)
        folder = run / "analysis"
        assert pngs(folder) == FIGURES and {path.stem for path in folder.glob("*.svg")} == FIGURES
        return folder

    return call


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_leaves_its_figures(figures_of, mode):
    figures_of(f"residual={mode}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_figures_of_one_stream_and_of_several_are_rendered(rendered, figures_of, mode):
    folder = figures_of(f"residual={mode}")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert all("</svg>" in path.read_text() for path in folder.glob("*.svg"))


def test_the_numbers_are_of_the_runs_weights_on_its_validation_set(trained, analyse):
    run = trained("residual=dhc")
    analyse(run, "--tokens", 70)
    again = Run(compose(json.loads((run / "result.json").read_text())["overrides"]))
    again.prepare()
    weights = torch.load(latest(run / "checkpoints"), weights_only=True)["state_dict"]
    again.model.load_state_dict({name.removeprefix("model."): w for name, w in weights.items()}, assign=True)
    stream = torch.from_numpy(again.suite.loaders()[0].store.read(0, 70)).long()
    # 70 tokens of the set predict 69: two windows of 32, and one of 5 without its padding.
    expected = connection_matrices(again.model, [stream[:64].view(2, 32), stream[64:69].view(1, 5)])
    found = read_connections(run / "analysis")
    np.testing.assert_allclose(found.C_0, expected.C_0, rtol=1e-6)
    np.testing.assert_allclose(found.C, expected.C, rtol=1e-6)
    about = read_about(run / "analysis")
    assert (about.run, about.step, about.suite, about.sets) == (run.name, 6, "local", ["held"])
    assert (about.documents, about.max_tokens) == (None, 70)
    numbers = read_numbers(run / "analysis")
    assert {row.at for row in numbers.gradients} == {"initial", "checkpoint"}
    evaluated = [point for point in numbers.curves if not point.metric.startswith("train/")]
    assert {point.metric for point in evaluated} == {"local/held/loss", "local/mean/loss"}
    assert {point.tokens for point in evaluated} == {6 * 2 * 32}


def test_initial_gradients_are_those_of_the_weights_that_training_started_from(trained, analyse):
    first, more = trained("steps=6"), trained("steps=9", "schedule.warmup=2")
    for run in (first, more):
        analyse(run)
    found = [
        {(row.at, row.layer): row.norm for row in read_numbers(run / "analysis").gradients} for run in (first, more)
    ]
    assert found[0]["initial", "block_1"] == found[1]["initial", "block_1"]
    assert found[0]["checkpoint", "block_1"] != found[1]["checkpoint", "block_1"] != found[1]["initial", "block_1"]


def test_a_checkpoint_has_a_folder_of_its_own(trained, analyse):
    run = trained("residual=dhc")
    out = analyse(run / "checkpoints" / "step=000003.ckpt")
    assert f"dhc n=4, step 3 of 6, 9 figures: {run}/analysis/step=000003\n" in out
    assert read_about(run / "analysis" / "step=000003").step == 3 and read_about(run / "analysis") is None


def test_what_was_analysed_is_not_analysed_again(trained, analyse, monkeypatch):
    run = trained()
    analyse(run)
    before = {path: path.stat().st_mtime_ns for path in (run / "analysis").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("hcexp.cli.analysed.survey", None)
        assert "analysed before" in analyse(run)
    assert {path: path.stat().st_mtime_ns for path in (run / "analysis").iterdir()} == before
    assert "9 figures" in analyse(run, "--tokens", 50) and read_about(run / "analysis").max_tokens == 50
    (run / "analysis" / "analysis.json").unlink()  # as if it had been interrupted
    assert "9 figures" in analyse(run, "--tokens", 50)


def test_no_more_is_read_than_the_run_read_itself(trained, analyse):
    run = trained("evaluation.max_tokens=40")
    analyse(run, "--tokens", 1000, "--documents", 3)
    about = read_about(run / "analysis")
    assert (about.max_tokens, about.documents) == (40, 3)


@pytest.mark.slow
def test_runs_stand_beside_each_other(trained, analyse, tracked, tmp_path):
    of = [*tracked, "evaluation.every=2", "optimizer.lr=0.01"]
    plain = [trained(*of, f"seed={seed}") for seed in (0, 1)]
    wide = [trained(*of, "residual=dhc", f"seed={seed}") for seed in (0, 1)]
    still = trained(*of, "optimizer.lr=1e-12")
    out = analyse(*plain, *wide, still, "--to", tmp_path / "figures")
    folder = tmp_path / "figures"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {run.name for run in (*plain, *wide, still)}
    assert pngs(folder) == FIGURES - {"coefficients"} | {"training", "convergence"}
    assert not (plain[0] / "analysis").exists()
    means = {row["variant"]: row for row in rows(folder / "convergence_mean.csv") if row["metric"] == "local/mean/loss"}
    assert means.keys() == {"dhc n=4", "pre_norm, lr=1e-12"}
    assert means["pre_norm, lr=1e-12"]["ratio"] == "" and means["dhc n=4"]["seeds"] == "2"
    assert means["dhc n=4"]["baseline"] == "pre_norm, lr=0.01"
    assert "convergence ratio of pre_norm, lr=1e-12 over pre_norm, lr=0.01, local/mean/loss: not reached\n" in out
    assert len(rows(folder / "convergence.csv")) == 2 * 3  # of the training loss too
    assert "biased against the variants" in out and "(cosine to 10 % of its peak)" in out
    svg = (folder / "convergence.svg").read_text()
    assert "biased against the variants" in svg


def drawn_of(monkeypatch):
    """What the figures of several runs are drawn of: by label, the seeds."""
    seen = {}
    from hcexp.cli import drawn

    genuine = drawn.draw

    def draw(groups, folder):
        seen.update({label: sorted(seeds) for label, seeds in groups.items()})
        return genuine(groups, folder)

    monkeypatch.setattr("hcexp.cli.drawn.draw", draw)
    return seen


def test_two_runs_of_one_seed_are_both_drawn(trained, analyse, monkeypatch, tmp_path):
    one, other, more = trained(), trained("data.seed=5"), trained("seed=1")
    seen = drawn_of(monkeypatch)
    analyse(one, other, more, "--to", tmp_path / "figures")
    assert seen == {"pre_norm": [0, 1], "pre_norm, data.seed=5": [0]}


def test_runs_of_one_name_are_both_drawn_and_each_has_its_folder(trained, analyse, monkeypatch, tmp_path):
    run = trained()
    copy = tmp_path / "elsewhere" / run.name
    shutil.copytree(run, copy)
    seen = drawn_of(monkeypatch)
    out = analyse(run, copy, "--to", tmp_path / "figures")
    assert seen == {"pre_norm, in runs": [0], "pre_norm, in elsewhere": [0]} and "analysed before" not in out
    for way in ("runs", "elsewhere"):
        assert read_about(tmp_path / "figures" / way / run.name).step == 6


def test_an_old_run_and_the_new_one_in_its_place_are_told_apart_by_their_code(trained, analyse, monkeypatch, tmp_path):
    run = trained()
    aside = run.parent / "stale" / f"{run.name}-1"
    shutil.copytree(run, aside)
    result = json.loads((aside / "result.json").read_text())
    result["record"]["code"] = "0123456789abcdef"
    (aside / "result.json").write_text(json.dumps(result))
    seen = drawn_of(monkeypatch)
    analyse(aside, run, "--to", tmp_path / "figures")
    code = json.loads((run / "result.json").read_text())["record"]["code"]
    assert seen == {"pre_norm, code 01234567": [0], f"pre_norm, code {code[:8]}": [0]}
    assert {path.name for path in (tmp_path / "figures").iterdir() if path.is_dir()} == {run.name, aside.name}


def test_one_run_at_one_step_is_refused_twice(trained, refused):
    run = trained()
    newest = latest(run / "checkpoints")
    assert refused("analyse", run, newest) == f"{run} and {newest} are one run at one step: name one of them"
    assert not (run / "analysis").exists()


@pytest.mark.slow
def test_the_baseline_can_be_any_of_them(trained, analyse, tracked):
    one, other = trained(*tracked, "evaluation.every=2"), trained(*tracked, "evaluation.every=2", "residual=dhc")
    out = analyse(one, other, "--baseline", other)
    assert "convergence ratio of pre_norm over dhc n=4, local/mean/loss: " in out
    (folder,) = (other / "analysis").glob("compared-*")
    assert pngs(folder) >= {"connections", "convergence"} and not list((one / "analysis").glob("compared-*"))
    analyse(other, one)
    assert list((other / "analysis").glob("compared-*")) == [folder]


@pytest.mark.slow
def test_a_baseline_that_is_not_finished_has_no_final_loss_to_reach(trained, analyse, tracked):
    one, other, more = (trained(*tracked, *knobs) for knobs in ([], ["residual=dhc"], ["residual=dhc", "seed=1"]))
    result = json.loads((one / "result.json").read_text())
    (one / "result.json").write_text(json.dumps({**result, "state": "failed"}))
    out = analyse(one, other, more)
    assert f"no convergence ratio over {one}: it is not finished" in out and "convergence ratio of" not in out
    assert "convergence ratio of pre_norm" in analyse(other, one), "a variant may have reached it before it failed"


@pytest.mark.slow
def test_a_tracked_run_has_its_curves_and_keeps_the_files(trained, analyse, tracked, store_uri):
    from mlflow import MlflowClient

    run = trained(*tracked, "evaluation.every=3", "callbacks.gradients.every=2", "residual=dhc")
    assert "10 figures: " in analyse(run)
    assert pngs(run / "analysis") == FIGURES | {"gradients_in_training"}
    curves = read_numbers(run / "analysis").curves
    steps = {metric: [p.step for p in curves if p.metric == metric] for metric in {p.metric for p in curves}}
    assert steps["train/loss"] == [1, 2, 3, 4, 5, 6] and steps["local/held/loss"] == [3, 6]
    assert steps["train/grad_norm/block_2"] == steps["train/grad_norm/connections_1"] == [2, 4, 6]
    client, identity = MlflowClient(store_uri), json.loads((run / "tracking.json").read_text())["run_id"]
    kept = {file.path.partition("/")[2] for file in client.list_artifacts(identity, "analysis")}
    assert kept == {path.name for path in (run / "analysis").iterdir()} - {"analysis.json"}
    assert "analysed before" in analyse(run)


@pytest.mark.slow
def test_a_store_that_is_away_takes_nothing_away(trained, analyse, tracked, tmp_path):
    run = trained(*tracked)
    store = tmp_path / "runs" / "mlflow.db"
    store.rename(tmp_path / "away.db")
    with pytest.warns(UserWarning, match=r"mlflow.db: the files are not recorded there \(there is no"):
        assert "9 figures: " in analyse(run)
    assert not store.exists() and not read_about(run / "analysis").tracked
    (tmp_path / "away.db").rename(store)
    assert "9 figures: " in analyse(run) and read_about(run / "analysis").tracked
    store.rename(tmp_path / "away.db")
    assert "analysed before" in analyse(run), "nothing has to be asked of the store"
    assert any(point.metric == "train/loss" for point in read_numbers(run / "analysis").curves)


def test_a_mode_from_elsewhere_is_analysed_too(my_modes, trained, analyse):  # noqa: F811
    run = trained(*MODE)
    assert "re_zero, step 6 of 6, 9 figures" in analyse(run)
    B = [row for row in read_numbers(run / "analysis").coefficients if row.coefficient == "B"]
    assert len(B) == 4 and all(0 < abs(row.mean) < 1 for row in B)


def test_what_cannot_be_analysed_is_one_line(refused, trained, tmp_path):
    run = trained()
    assert refused("analyse", tmp_path / "none") == f"{tmp_path}/none is not the folder of a run: it has no config.yaml"
    shutil.copy(latest(run / "checkpoints"), tmp_path / "away.ckpt")
    assert (
        refused("analyse", run, tmp_path / "away.ckpt")
        == f"{tmp_path} is not the folder of a run: it has no config.yaml"
    )
    missing = run / "checkpoints" / "step=000009.ckpt"
    assert refused("analyse", missing) == f"{missing}: there is no such checkpoint"
    assert refused("analyse", run, "--tokens", "0").endswith("0 must be a whole number, 1 or more")
    assert "the following arguments are required" in refused("analyse")
    shutil.rmtree(run / "checkpoints")
    assert refused("analyse", run) == f"{run} has no checkpoint: train it first"
    assert not (run / "analysis").exists()


def test_a_whole_sweep_is_analysed_before_its_report(trained, tmp_path, capsys):
    runs = [trained(), trained("residual=dhc")]
    shutil.rmtree(runs[0] / "checkpoints")
    console = Console(width=1000)
    analyse_runs([tmp_path / "none", *runs], console)
    out = capsys.readouterr().out
    assert f"not analysed: {runs[0]} has no checkpoint" in out and f"not analysed: {tmp_path}/none is not the" in out
    assert read_connections(runs[1] / "analysis") is not None and read_connections(runs[0] / "analysis") is None
    analyse_runs(runs[1:], console)
    assert "analysed before" in capsys.readouterr().out
