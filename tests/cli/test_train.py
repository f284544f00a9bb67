import json

from omegaconf import OmegaConf

from hcexp.configuration import compose


def test_a_run_is_trained_once_and_shown_again(hcexp, minute, tmp_path):
    status, out, _ = hcexp("train", *minute)
    (directory,) = (tmp_path / "runs").iterdir()
    metrics = json.loads((directory / "result.json").read_text())["metrics"]
    look = "evaluation was a quick look: the first 200 tokens a set"
    # tracking=none: MLflow has nothing to show
    assert status == 0 and out.splitlines()[-2:] == [look, f"run {directory}"]
    shown = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
    assert shown.keys() == {*metrics, "run"} and shown["train/loss"] == f"{metrics['train/loss']:,.4f}"
    status, again, _ = hcexp("train", *minute)
    first, *rest = again.splitlines()
    assert (status, first) == (0, "this run was finished before; its result:")
    assert rest == out.splitlines()[-len(rest) :]


def test_config_shows_the_configuration_and_trains_nothing(hcexp, minute, tmp_path):
    status, out, err = hcexp("train", "--config", *minute, "residual=dhc", "residual.n=7")
    assert (status, err) == (0, "") and OmegaConf.create(out).residual.n == 7
    assert OmegaConf.create(out) == compose([*minute, "residual=dhc", "residual.n=7"])
    assert not (tmp_path / "runs").exists()
