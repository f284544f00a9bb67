import json

from omegaconf import OmegaConf

from hcexp.configuration import compose


def test_a_run_is_trained_once_and_shown_again(hcexp, minute, tmp_path):
    knobs = [*minute, "evaluation.max_tokens=null"]
    status, out, _ = hcexp("train", *knobs)
    assert status == 0 and "quick look" not in out, "sets that are read whole need no mark"
    (directory,) = (tmp_path / "runs").iterdir()
    metrics = json.loads((directory / "result.json").read_text())["metrics"]
    lines = [line.split() for line in out.splitlines()]
    shown = {words[0] for words in lines if len(words) == 2}
    assert shown == {*metrics, "run"}
    assert [f"{metrics['train/loss']:,.4f}"] == [words[1] for words in lines if words[0] == "train/loss"]
    assert out.endswith(f"run {directory}\n")  # tracking=none: MLflow has nothing to show

    status, again, _ = hcexp("train", *knobs)
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


LOOKS = {
    "evaluation.documents=20 evaluation.max_tokens=null": "the first 20 documents a set",
    "evaluation.documents=20": "the first 20 documents a set, the first 200 tokens a set",
    "evaluation.documents=20 downstream.tasks=[copa]":
        "the first 20 documents a set and task, the first 200 tokens a set",
    "evaluation.max_tokens=null downstream.documents=5 downstream.tasks=[copa]": "the first 5 documents a task",
}  # fmt: skip


def test_a_quick_look_is_said_to_be_one(hcexp, minute):
    for knobs, look in LOOKS.items():
        _, out, _ = hcexp("train", *minute, *knobs.split(), "steps=2")
        assert f"evaluation was a quick look: {look}\n" in out, knobs
