from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import hcexp
from hcexp.callbacks import Curves, GradientNorms, Progress, StepCheckpoint, Throughput

CONF = Path(hcexp.__file__).parents[1] / "conf" / "callbacks" / "default.yaml"


@pytest.fixture
def config():
    return OmegaConf.create({"callbacks": OmegaConf.load(CONF)})


def test_every_entry_is_a_callback(config):
    built = {name: type(instantiate(entry)) for name, entry in config.callbacks.items()}
    assert built == {
        "curves": Curves,
        "gradients": GradientNorms,
        "throughput": Throughput,
        "progress": Progress,
        "checkpoint": StepCheckpoint,
    }


def test_what_is_written_down_is_the_default(config):
    for entry in config.callbacks.values():
        built = instantiate(entry)
        follows = "every" in entry and OmegaConf.is_interpolation(entry, "every")
        bare = type(built)(every=config.callbacks.curves.every) if follows else type(built)()
        for knob in entry:
            if knob != "_target_" and hasattr(bare, knob):
                assert getattr(built, knob) == getattr(bare, knob), knob


def test_one_knob_sets_how_often_all_log(config):
    config.callbacks.curves.every = 3
    assert instantiate(config.callbacks.throughput).every == 3
