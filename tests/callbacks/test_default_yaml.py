from math import nan
from pathlib import Path

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

import hcexp
from hcexp.callbacks import Curves, GradientNorms, Progress, SpikeScore, StepCheckpoint, Throughput

CONF = Path(hcexp.__file__).parents[1] / "conf" / "callbacks" / "default.yaml"


def test_every_entry_is_a_callback_and_what_is_written_down_is_its_default():
    config = OmegaConf.create({"callbacks": OmegaConf.load(CONF)})
    built = {name: instantiate(entry) for name, entry in config.callbacks.items()}
    assert [*map(type, built.values())] == [Curves, GradientNorms, Throughput, Progress, StepCheckpoint]
    for name, callback in built.items():
        for knob in config.callbacks[name].keys() - {"_target_"}:
            assert getattr(callback, knob, None) == getattr(type(callback)(), knob, None), (name, knob)
    config.callbacks.curves.every = 3
    assert instantiate(config.callbacks.throughput).every == 3, "one knob sets how often all log"


def test_knobs_are_checked():
    refused = (
        (Curves, "callbacks.curves", ({"every": 0}, {"ema": 1.0}, {"ema": -0.1})),
        (GradientNorms, "callbacks.gradients", ({"every": 0},)),
        (Throughput, "callbacks.throughput", ({"every": 0}, {"warmup": -1})),
        (Progress, "callbacks.progress", ({"seconds": -1},)),
        (StepCheckpoint, "callbacks.checkpoint", ({"every_n_steps": 0}, {"keep": 0})),
        (SpikeScore, "spike (threshold|warmup)", ({"threshold": 0}, {"threshold": nan}, {"warmup": 1}, {"window": 40})),
    )
    for kind, where, wrong in refused:
        for knobs in wrong:
            name = "" if kind is SpikeScore else f".{next(iter(knobs))}"
            with pytest.raises(ValueError, match=rf"\A{where}{name} must .*, got.*\Z"):
                kind(**knobs)
