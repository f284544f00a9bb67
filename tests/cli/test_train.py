import json

from omegaconf import OmegaConf

from hcexp.run import compose


def test_a_run_is_trained_once_and_shown_again(hcexp, minute, tmp_path):
    status, out, _ = hcexp("train", *minute)
    assert status == 0
    (directory,) = (tmp_path / "runs").iterdir()
    metrics = json.loads((directory / "result.json").read_text())["metrics"]
    lines = [line.split() for line in out.splitlines()]
    shown = {words[0] for words in lines if len(words) == 2}
    assert shown == {*metrics, "run"}
    assert [f"{metrics['train/loss']:,.4f}"] == [words[1] for words in lines if words[0] == "train/loss"]
    assert out.endswith(f"run {directory}\n")  # tracking=none: MLflow has nothing to show

    status, again, _ = hcexp("train", *minute)
    assert status == 0
    first, *rest = again.splitlines()
    assert first == "this run was finished before; its result:"
    assert rest == out.splitlines()[-len(rest) :]


def test_config_shows_the_configuration_and_trains_nothing(hcexp, minute, tmp_path):
    status, out, err = hcexp("train", "--config", *minute, "residual=dhc", "residual.n=7")
    assert (status, err) == (0, "")
    assert OmegaConf.create(out) == compose([*minute, "residual=dhc", "residual.n=7"])
    assert OmegaConf.create(out).residual.n == 7
    assert not (tmp_path / "runs").exists()
