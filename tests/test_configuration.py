"""Every choice of `conf/` composes and builds."""

import pytest
from omegaconf import OmegaConf

from hcexp.configuration import build_model, compose, shipped
from tests.registered import MODES

CONF = shipped("conf")
CHOICES = [f"{path.parent.name}={path.stem}" for path in sorted(CONF.glob("*/*.yaml"))]
SCALES = sorted(path.stem for path in (CONF / "scale").glob("*.yaml"))
GIVEN = {
    "data=local": ["data.files=a.txt"],
    "data=hub": ["data.hub=a/b", f"data.revision={'0' * 40}"],
    "data=mixture": ["data.mixture={a: {files: a.txt, weight: 1}}"],
    "evaluation=local": ["evaluation.files=a.txt"],
}


@pytest.mark.parametrize("choice", CHOICES)
def test_every_file_of_conf_composes_and_instantiates(choice, tmp_path, monkeypatch):
    from hydra.utils import instantiate

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("some text")
    config = compose([choice, *GIVEN.get(choice, [])])
    group, name = choice.split("=")
    assert config.choices[group] == name
    build_model(config)
    for group in ("data", "optimizer", "schedule", "evaluation", "downstream", "callbacks"):
        instantiate(config[group])
    if choice.startswith("tracking") and name == "none":
        instantiate(config.tracking, runs=tmp_path)


@pytest.mark.parametrize("scale", SCALES)
def test_every_mode_builds_at_every_scale_without_memory(scale):
    for mode in MODES:
        model = build_model(compose([f"scale={scale}", f"residual={mode}"]))
        assert {p.device.type for p in model.parameters()} == {"meta"}


def test_what_is_given_wins_over_the_scale_wherever_it_stands():
    first, last = compose(["optimizer.lr=0.5", "scale=20m"]), compose(["scale=20m", "optimizer.lr=0.5"])
    assert first == last and first.optimizer.lr == 0.5 and first.model.d == 256


@pytest.mark.parametrize("knob", ["objective.z_loss", "optimizer.weight_decay", "trainer.gradient_clip_val"])
def test_a_number_is_the_same_however_it_is_written(knob):
    written = [compose([f"{knob}={value}"]) for value in ("2", "2.0", "2e0")]
    assert {repr(OmegaConf.select(config, knob)) for config in written} == {"2.0"}


def test_paths_expand_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert compose(["paths.cache='~/kept'"]).paths.cache == f"{tmp_path}/kept"
    assert compose().paths.cache == f"{tmp_path}/.cache/hcexp"
    assert compose(["paths.cache='~/kept'"]).data.cache == f"{tmp_path}/kept"
