"""When checkpoints are written, which are kept, and which one to go on from."""

import errno
import re
import shutil
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from hcexp.callbacks.checkpoint_file import PARTIAL, CheckpointFile

NAME = re.compile(r"step=(\d+)\.ckpt")


class StepCheckpoint(Checkpoint):
    """A checkpoint every few optimiser steps, at the end, and on SIGTERM; the newest ones are kept.

    Files are called `step=000120.ckpt`. They are only written between optimiser steps, and where a
    validation is due at the same step, after it: a run that goes on from one repeats and misses nothing. On
    SIGTERM the step is finished and saved if it has no more micro-batches to come; several processes could
    not agree on that step, and go back to the last regular one. Ctrl+C may strike in the middle of an
    optimiser step, and saves nothing.

    Not a `ModelCheckpoint`: that one keeps at most one file without a metric to rank them, and saves in the
    middle of an accumulation after a resume.

    Args:
        every_n_steps: optimiser steps between two checkpoints.
        keep: how many of the newest to keep.
        folder: where; None for `checkpoints` in the Trainer's `default_root_dir`.

    Raises:
        OSError: (`ENOSPC`) before training if `keep` checkpoints and the one being written will not fit
            on the disk, and before or during a save if that one does not.
    """

    def __init__(self, every_n_steps: int = 1000, keep: int = 2, folder: str | Path | None = None) -> None:
        if every_n_steps < 1:
            raise ValueError(f"callbacks.checkpoint.every_n_steps must be at least 1, got {every_n_steps}")
        if keep < 1:
            raise ValueError(f"callbacks.checkpoint.keep must be at least 1, got {keep}")
        self.every_n_steps, self.keep = every_n_steps, keep
        self.folder = Path(folder) if folder is not None else None
        self._due = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.folder is None:
            self.folder = Path(trainer.default_root_dir) / "checkpoints"
        with suppress(NotImplementedError):  # a sharding strategy may write without any such plugin
            if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
                trainer.strategy.checkpoint_io = CheckpointFile()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for partial in self.folder.glob(f"step=*{PARTIAL}"):  # of a process that was killed
                partial.unlink()
        self._require_space(trainer, pl_module, self.keep + 1 - len(_by_step(self.folder)))

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = self._saved = trainer.global_step
        self._due = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if step == self._step:  # more micro-batches of this step to come
            return
        self._step = step
        stopping = trainer.received_sigterm and trainer.world_size == 1
        # What is still due waited for a validation that did not come.
        self._due |= stopping or step % self.every_n_steps == 0 or step == trainer.max_steps
        if self._due and not self._validation_follows(trainer):
            self._save(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._due:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._step != self._saved:  # stopped early
            self._save(trainer, pl_module)

    @staticmethod
    def _validation_follows(trainer: L.Trainer) -> bool:
        loop = trainer.fit_loop
        return loop.epoch_loop._should_check_val_fx(loop._data_fetcher)  # there is no public way to ask

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._due, self._saved = False, trainer.global_step
        if trainer.fast_dev_run:
            return
        self._require_space(trainer, pl_module, 1)
        for logger in trainer.loggers:  # what a checkpoint has in its past is in the log as well
            logger.save()
        trainer.save_checkpoint(self.folder / f"step={trainer.global_step:06}.ckpt", weights_only=False)
        if trainer.is_global_zero:
            past = [path for step, path in _by_step(self.folder) if step <= trainer.global_step]
            for path in past[: -self.keep]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _require_space(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoints: int) -> None:
        line = None
        if trainer.is_global_zero and checkpoints > 0 and not trainer.fast_dev_run:
            needed = checkpoints * checkpoint_bytes(pl_module, trainer.optimizers)
            free = shutil.disk_usage(self.folder).free
            if free < needed:
                what = "1 checkpoint needs" if checkpoints == 1 else f"{checkpoints} checkpoints need"
                line = f"{what} {_size(needed)} in {self.folder}, {_size(free)} are free: make room there"
                line += ", or lower callbacks.checkpoint.keep" if checkpoints > 2 else ""
        line = trainer.strategy.broadcast(line)  # all ranks stop, instead of waiting for the first
        if line:
            raise OSError(errno.ENOSPC, line)


def checkpoint_bytes(pl_module: L.LightningModule, optimizers: list) -> int:
    """About how large a checkpoint is, in bytes.

    Parameters, buffers and optimiser state, and 5 % and 1 MiB for the rest. Before the first step an
    optimiser has no state yet; AdamW's two moments per parameter are assumed.
    """
    weights = sum(tensor.nbytes for tensor in (*pl_module.parameters(), *pl_module.buffers()))
    state = [value for o in optimizers for moments in o.state.values() for value in moments.values()]
    moments = sum(value.nbytes for value in state if isinstance(value, Tensor))
    trained = sum(parameter.nbytes for parameter in pl_module.parameters() if parameter.requires_grad)
    return int(1.05 * (weights + (moments or 2 * trained))) + 2**20


def latest(folder: str | Path) -> Path | None:
    """The checkpoint of the highest step in `folder` that is whole, or None; a damaged one is passed over."""
    return next((path for _, path in reversed(_by_step(Path(folder))) if _whole(path)), None)


def _by_step(folder: Path) -> list[tuple[int, Path]]:
    found = ((NAME.fullmatch(path.name), path) for path in folder.glob("step=*.ckpt"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _whole(path: Path) -> bool:
    if path.is_dir():  # sharded: Lightning writes this file last
        return (path / "meta.pt").is_file()
    return zipfile.is_zipfile(path)  # a zip file's directory stands at its end: missing if it was cut


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"
