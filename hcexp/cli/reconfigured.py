"""The configuration of a run that trained, with other ways of measuring it."""

from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict

from hcexp.configuration import compose

GROUPS = ("evaluation", "downstream")
KNOBS = ("data.tokenizer", "paths.cache", "trainer.accelerator", "trainer.precision", "tracking.uri")


def reconfigured(recorded: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """A run's recorded configuration with overrides that change neither its network nor what it was trained on.

    A group that the overrides choose anew starts from `conf/`; of the other one they change single knobs. What follows
    another knob by default, as `downstream.documents` follows `evaluation.documents`, follows it here too.

    The accelerator is not the recorded one: by default a GPU if there is one.

    Raises ValueError for an override of anything else, and what `compose` raises.
    """
    given = [override.key_or_group for override in OverridesParser.create().parse_overrides(list(overrides))]
    for knob, override in zip(given, overrides, strict=True):
        if knob.partition(".")[0] not in GROUPS and knob not in KNOBS:
            raise ValueError(
                f"{override} has no place here, where a trained model is measured: allowed are "
                f"{', '.join(f'{group}…' for group in GROUPS)}, {', '.join(KNOBS)}"
            )
    choices = [f"{group}={recorded.choices[group]}" for group in GROUPS if group in recorded.choices]
    before = compose(choices)
    asked = compose([*(choice for choice in choices if choice.partition("=")[0] not in given), *overrides])
    with open_dict(before), open_dict(asked):
        for group in GROUPS:
            for knob, value in recorded.get(group, {}).items():
                name = f"{group}.{knob}"
                if group in given or OmegaConf.select(before, name, throw_on_missing=False) == value:
                    continue
                before[group][knob] = value
                if not any(key == name or key.startswith(f"{name}.") for key in given):
                    asked[group][knob] = value
    config = recorded.copy()
    with open_dict(config):
        for group in GROUPS:
            config[group] = OmegaConf.to_container(asked[group], resolve=True, throw_on_missing=True)
            config.choices[group] = asked.choices[group]
        for knob in KNOBS:
            if knob in given or knob == "trainer.accelerator":
                OmegaConf.update(config, knob, OmegaConf.select(asked, knob))
    return config
