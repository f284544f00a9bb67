import json
import os
import re
import signal

import pytest
from omegaconf import OmegaConf

from hcexp.run.module import TrainingModule


@pytest.fixture
def stopped(runs, trained):
    """The folder of a run that was stopped at step 3, somewhere else than where it began."""
    return runs / trained.stopped.identity


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def losses(result):
    return {name: value for name, value in result["metrics"].items() if name.startswith(("train/loss", "local/"))}


def test_a_run_goes_on_as_it_was_configured(hcexp, stopped, trained, fits):
    """Under the search that pruned it too, whose trial is over and takes no more reports."""
    config = OmegaConf.load(stopped / "config.yaml")
    pruning = {"journal": f"{stopped.parent}/none", "study": "tune", "trial": 0, "pruner": {"name": "median"}}
    config.callbacks.pruning = {"_target_": "hcexp.study.search.pruning.Pruning", **pruning}
    OmegaConf.save(config, stopped / "config.yaml")
    status, out, err = hcexp("train", "--resume", stopped, "callbacks.progress.seconds=0", "tracking=none")
    assert status == 0 and out.endswith(f"run {stopped}\n"), err
    result, calm = json.loads((stopped / "result.json").read_text()), trained.calm.result()
    assert losses(result) == losses(calm) and result["identity"] == calm["identity"] == stopped.name
    assert result["overrides"] == trained.stopped.overrides
    assert result["config"]["callbacks"]["progress"]["seconds"] == 10
    assert fits[0]["ckpt_path"].name == "step=000002.ckpt" and fits[0]["weights_only"] is True
    status, again, _ = hcexp("train", "--resume", stopped)
    assert status == 0 and again.startswith("this run was finished before")


def test_it_may_go_on_elsewhere_and_the_result_says_so(hcexp, stopped, trained):
    assert hcexp("train", f"--resume={stopped}", "trainer.accumulate_grad_batches=2", "+trainer.num_nodes=1")[0] == 0
    result = json.loads((stopped / "result.json").read_text())
    assert losses(result) == pytest.approx(losses(trained.calm.result()), rel=1e-5)
    assert result["identity"] == stopped.name and result["config"]["trainer"]["accumulate_grad_batches"] == 1
    first, second = result["attempts"]
    assert (first["step"], first["trainer.accumulate_grad_batches"]) == (0, 1)
    assert (second["step"], second["trainer.accumulate_grad_batches"]) == (2, 2)
    assert second["trainer.devices"] == 1 and second["hardware"]["cores"]


REFUSED = {
    "optimizer.lr=0.5": "optimizer.lr: 0.003 → 0.5:",
    "seed=3 data.workers=0": "seed: 0 → 3:",
    "residual=pre_norm": r"choices\.residual: dhc → pre_norm; residual\.decay_scales: False → –; .*",
    "trainer.precision=bf16-mixed": "trainer.precision: 32-true → bf16-mixed:",
    "+trainer.max_epochs=3": "trainer.max_epochs: – → 3:",
    "~trainer.gradient_clip_val": "trainer.gradient_clip_val: 1.0 → –:",
    "paths.runs=elsewhere": "paths.runs=elsewhere: with --resume it is that of the run,",
    "optimizer.rate=1": "optimizer.rate is not a knob here",
    "data.workers=many": "data.workers=many is not allowed: it must be a whole number",
    "data.files={other}": ".*data: .* → ",
    "evaluation.files={other}": ".*evaluation: .* → ",
}


def test_whatever_would_make_another_run_is_refused_and_shown(refused, stopped, tmp_path):
    before, other = contents(stopped), tmp_path / "other.txt"
    other.write_text("other words " * 1000)
    for overrides, shown in REFUSED.items():
        line = refused("train", "--resume", stopped, *overrides.format(other=other).split())
        assert re.match(shown, line), line
    assert contents(stopped) == before
    none = tmp_path / "none"
    assert refused("train", "--resume", none) == f"{none} is not the folder of a run: it has no config.yaml"


def test_an_edited_configuration_is_refused_and_shown(refused, stopped):
    path = stopped / "config.yaml"
    path.write_text(path.read_text().replace("warmup: 1\n", "warmup: 2\n"))
    before = contents(stopped)
    line = refused("train", "--resume", stopped)
    assert line.startswith(f"{path} does not give a run of this name") and "schedule.warmup: 1 → 2" in line
    (stopped / "identity.json").unlink()
    assert "one of its knobs, or the data" in refused("train", "--resume", stopped)
    before.pop(stopped / "identity.json")
    assert contents(stopped) == before
    (stopped / "attempts.json").write_text("[{")
    assert refused("train", "--resume", stopped).startswith(f"{stopped}/attempts.json is damaged (")


def test_a_mode_of_ones_own_is_found_where_it_was(hcexp, minute, interrupt, tmp_path):
    own = tmp_path / "own" / "residual"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("_target_: hcexp.residual.StaticHyperConnections\n_partial_: true\nn: 3\n")
    interrupt(3)
    assert hcexp("train", *minute, f"hydra.searchpath=[file://{tmp_path}/own]", "residual=mine")[0] == 130
    interrupt(None)
    (folder,) = (path for path in (tmp_path / "runs").iterdir() if path.is_dir())
    status, _, err = hcexp("train", "--resume", folder, "data.workers=0")
    assert (status, err.count("error")) == (0, 0), err


def test_sigterm_is_no_success(hcexp, minute, monkeypatch):
    genuine = TrainingModule.training_step

    def training_step(self, *arguments):
        if self.trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return genuine(self, *arguments)

    monkeypatch.setattr(TrainingModule, "training_step", training_step)
    status, _, err = hcexp("train", *minute)
    assert status == 143 and err.splitlines()[-1] == "hcexp: stopped; the same command goes on from the last checkpoint"
