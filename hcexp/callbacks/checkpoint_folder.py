"""The checkpoints of a run's folder, and which of them is whole and the newest."""

import os
import re
import shutil
import zipfile
from pathlib import Path

from hcexp.disk.atomic import PARTIAL

CHECKPOINTS = "checkpoints"  # the folder in that of the run
NAME = re.compile(r"step=(\d+)\.ckpt")
DAMAGED = "HCEXP_DAMAGED"  # environment variable, for the processes that the first one starts: what it has passed over


def by_step(folder: Path) -> list[tuple[int, Path]]:
    """The checkpoints in `folder`, whole or not, with their optimiser steps: the highest last."""
    found = ((NAME.fullmatch(path.name), path) for path in folder.glob("step=*.ckpt"))
    return sorted((int(match[1]), path) for match, path in found if match)


def at_step(folder: Path, step: int) -> Path | None:
    """The checkpoint of this optimiser step, whole or not; None if there is none."""
    return dict(by_step(folder)).get(step)


def latest(folder: str | Path) -> Path | None:
    """The checkpoint of the highest step in `folder` that is whole, or None; a damaged one is passed over."""
    return next((path for _, path in reversed(by_step(Path(folder))) if not damage(path)), None)


def to_go_on_from(folder: str | Path) -> Path | None:
    """The checkpoint of the highest step in `folder` that is whole, or None if there are none at all.

    Of several processes the first reads every byte, and those that it starts pass over what it has passed over. Damaged
    ones are warned of. Raises ValueError if there is nothing else: training must not silently begin anew; and if only
    the first process can know of the damage, for then the others would go on from another step.
    """
    from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn  # slow to import

    first, known = rank_zero_only.rank == 0, os.environ.get(DAMAGED, "").split("/")
    alone = int(os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS") or 1) == 1
    damaged: dict[str, str] = {}
    for _, path in reversed(by_step(Path(folder))):
        what = damage(path, thorough=False) or (None if first or path.name not in known else "is damaged")
        if not what and first and (what := damage(path)) and not alone:
            raise ValueError(f"{path} {what}: delete it, and the same command goes on from the one before")
        if not what:
            break
        damaged[path.name] = what
    else:
        path = None
    listed = ", ".join(f"{name} {what}" for name, what in damaged.items())
    if damaged and path is None:
        raise ValueError(
            f"no checkpoint in {folder} is whole: {listed}; put a good copy there, "
            "or delete the folder to train from the start"
        )
    if damaged:
        rank_zero_warn(f"in {folder} {listed}: the run goes on from {path.name}")
    if first:
        os.environ[DAMAGED] = "/".join(damaged)
    return path


def remove(path: Path) -> None:
    """Delete a checkpoint, or what is left of one: a file, or a folder of shards."""
    if path.is_dir():  # a folder that is half gone must not pass for a checkpoint
        shutil.rmtree(path.rename(path.with_name(path.name.removesuffix(PARTIAL) + PARTIAL)))
    else:
        path.unlink()


def damage(path: Path, *, thorough: bool = True) -> str | None:
    """What is wrong with a checkpoint; None if nothing is. Nothing that is in one is run.

    Sizes are compared with those that it has recorded: a file at its end, shards in their metadata. Of a file every
    byte is read too, unless the check is not to be thorough.
    """
    import torch  # whoever lists checkpoints by their names does without

    if path.is_dir():
        from hcexp.callbacks.shards import LAST, damage_of_shards

        if what := damage_of_shards(path):
            return what
        path /= LAST
    if not path.stat().st_size:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as file:  # torch.save gives every part its checksum
            broken = file.testzip() if thorough else None
        torch.load(path, map_location="meta", mmap=True, weights_only=True)
    except zipfile.BadZipFile:  # its directory stands at the end, and is missing if the file was cut
        return "is cut off"
    except Exception as error:  # zipfile and torch raise whatever comes of a directory that is wrong
        return f"cannot be read ({type(error).__name__})"
    return f"does not have the checksum of its {broken}" if broken else None
