from pathlib import Path

from hydra.utils import instantiate
from omegaconf import OmegaConf

import hcexp
from hcexp.callbacks import Curves, GradientNorms, Progress, StepCheckpoint, Throughput

CONF = Path(hcexp.__file__).parents[1] / "conf" / "callbacks" / "default.yaml"


def test_every_entry_is_a_callback_and_what_is_written_down_is_its_default():
    config = OmegaConf.create({"callbacks": OmegaConf.load(CONF)})
    built = {name: instantiate(entry) for name, entry in config.callbacks.items()}
    kinds = [Curves, GradientNorms, Throughput, Progress, StepCheckpoint]
    assert [type(callback) for callback in built.values()] == kinds
    for name, callback in built.items():
        for knob in config.callbacks[name].keys() - {"_target_"}:
            assert getattr(callback, knob, None) == getattr(type(callback)(), knob, None), (name, knob)
    config.callbacks.curves.every = 3
    assert instantiate(config.callbacks.throughput).every == 3, "one knob sets how often all log"
