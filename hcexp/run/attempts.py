"""The attempts that have part in a run's result: from which step each went on, with what code, and where."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import DictConfig

from hcexp.configuration import shareable
from hcexp.run.folder import RunFolder
from hcexp.run.identity import placement


def attempts(
    folder: RunFolder, checkpoint: Path | None, made_by: Mapping[str, Any], config: DictConfig, overrides: Sequence[str]
) -> list[dict[str, Any]]:
    """The attempts that the folder lists whose steps are in `checkpoint`, and the one that goes on from it.

    Code that has changed since is warned of.
    """
    step = int(checkpoint.stem.partition("=")[2]) if checkpoint else 0
    before = [attempt for attempt in folder.attempts if attempt["step"] < step]
    if before and before[-1]["code"] != made_by["code"]:
        rank_zero_warn(f"the code has changed since this run's step {step}: its result will list both versions")
    this = {
        "step": step,
        "code": made_by["code"],
        "git": made_by["git"],
        "hardware": made_by["hardware"],
        **placement(config),
        "overrides": shareable(overrides),
    }
    return [*before, this]
