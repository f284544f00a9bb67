"""A run that goes on with the configuration that lies in its folder."""

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from hcexp.configuration import compose, parse, shipped
from hcexp.run.folder import CONFIG, RunFolder
from hcexp.run.identity import PLACEMENT, WITHOUT_EFFECT, differences, effective, hashed, is_placement, listed
from hcexp.run.run import Run


def resumed(folder: Path, overrides: Sequence[str] = ()) -> Run:
    """The run of a folder; of its recorded configuration, overrides change only what has no effect, or where it runs.

    Raises FileNotFoundError if this is not the folder of a run, ValueError for an override of anything else, or if the
    configuration or the data are no longer those that the folder has its name of; and what `compose` raises.
    """
    folder = folder.resolve()
    left = RunFolder(folder)
    recorded = left.configuration
    recorded.paths.runs = str(folder.parent)
    recorded.callbacks.pop("pruning", None)  # of the search whose trial this was
    begun = left.attempts[0]["overrides"] if left.attempts else []
    search = [override for override in begun if override.startswith("hydra.searchpath=")]
    config = _overridden(recorded, [*search, *overrides])
    if Path(config.paths.runs).resolve() != folder.parent:
        raise ValueError(f"paths.runs={config.paths.runs}: with --resume it is that of the run, {folder.parent}")
    changed = differences(effective(recorded), effective(config))
    if refused := {knob: change for knob, change in changed.items() if not is_placement(knob)}:
        raise ValueError(
            f"{listed(refused)}: this would be another run than {folder.name}; allowed are "
            f"{', '.join(PLACEMENT)}, and what has no effect on a result: {', '.join(WITHOUT_EFFECT)}"
        )
    run = Run(config, begun, recorded)
    _require_name(run, left)
    return run


def _overridden(recorded: DictConfig, overrides: Sequence[str]) -> DictConfig:
    given = [override.key_or_group for override in parse(overrides)]
    choices = [
        f"{group}={choice}" for group, choice in recorded.choices.items() if "." not in group and group not in given
    ]
    asked = compose([*choices, *overrides])
    config = recorded.copy()
    with open_dict(config):
        for knob in given:
            if knob.startswith("hydra."):
                continue
            value = OmegaConf.select(asked, knob)
            section, _, key = knob.rpartition(".")
            if key in (OmegaConf.select(asked, section) if section else asked):
                OmegaConf.update(config, knob, value, merge=False, force_add=True)
            elif section:
                OmegaConf.select(config, section).pop(key, None)
            if (shipped("conf") / knob).is_dir():
                config.choices[knob] = asked.choices[knob]
    return config


def _require_name(run: Run, left: RunFolder) -> None:
    if run.identity == left.path.name:
        return
    if hashed(left.content) != left.path.name:
        what = "one of its knobs, or the data or the tokenizer that it names"
    else:
        changed = differences(left.content, run.content)
        what = listed({knob.removeprefix("config."): change for knob, change in changed.items()})
    raise ValueError(
        f"{left.path / CONFIG} does not give a run of this name any more, but {run.identity}: {what} changed"
    )
