"""The checkpoints of a run's folder, and which of them is whole and the newest."""

import re
import shutil
import zipfile
from pathlib import Path

import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from hcexp.disk.atomic import PARTIAL

NAME = re.compile(r"step=(\d+)\.ckpt")
LAST = "meta.pt"  # of a checkpoint in shards, the file that Lightning writes last


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

    Damaged ones are warned of. Raises ValueError if there is nothing else: training must not silently begin anew.
    """
    damaged = []
    for _, path in reversed(by_step(Path(folder))):
        if what := damage(path):
            damaged.append(f"{path.name} {what}")
            continue
        if damaged:
            rank_zero_warn(f"in {folder} {', '.join(damaged)}: the run goes on from {path.name}")
        return path
    if damaged:
        raise ValueError(
            f"no checkpoint in {folder} is whole: {', '.join(damaged)}; put a good copy there, "
            "or delete the folder to train from the start"
        )
    return None


def remove(path: Path) -> None:
    """Delete a checkpoint, or what is left of one: a file, or a folder of shards."""
    if path.is_dir():  # a folder that is half gone must not pass for a checkpoint
        shutil.rmtree(path.rename(path.with_name(path.name.removesuffix(PARTIAL) + PARTIAL)))
    else:
        path.unlink()


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint; None if nothing is. Every byte is read, but of shards their sizes."""
    if path.is_dir():
        if what := _damage_of_shards(path):
            return what
        path /= LAST
    if not path.stat().st_size:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as file:  # torch.save gives every part its checksum
            broken = file.testzip()
        torch.load(path, map_location="meta", mmap=True, weights_only=True)
    except zipfile.BadZipFile:  # its directory stands at the end, and is missing if the file was cut
        return "is cut off"
    except Exception as error:  # zipfile and torch raise whatever comes of a directory that is wrong
        return f"cannot be read ({type(error).__name__})"
    return f"does not have the checksum of its {broken}" if broken else None


def _damage_of_shards(folder: Path) -> str | None:
    """Whether a folder lacks a file of a checkpoint in shards, or a part of one."""
    from torch.distributed.checkpoint import FileSystemReader  # takes a while, and few runs have shards

    if not (folder / LAST).is_file() or not (folder / ".metadata").is_file():
        return "is not complete"
    try:
        tensors = FileSystemReader(folder).read_metadata().storage_data.values()
    except Exception as error:  # pickle raises whatever comes of bytes that are wrong
        return f"cannot be read ({type(error).__name__})"
    for tensor in tensors:
        shard = folder / tensor.relative_path
        if not shard.is_file() or shard.stat().st_size < tensor.offset + tensor.length:
            return f"is cut off in {shard.name}"
    return None
