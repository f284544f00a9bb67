"""When checkpoints are written, and which are kept."""

import errno
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor

from hcexp.callbacks.checkpoint_file import CheckpointFile
from hcexp.callbacks.checkpoint_folder import CHECKPOINTS, by_step, remove
from hcexp.callbacks.rewind import rewind_to_step
from hcexp.callbacks.step import StepCallback
from hcexp.callbacks.termination import Termination
from hcexp.disk.atomic import PARTIAL


class StepCheckpoint(StepCallback, Checkpoint):
    """A checkpoint every few optimiser steps, at the end, and on SIGTERM; the newest ones are kept.

    Files are called `step=000120.ckpt`. They are only written between optimiser steps, and where a validation is due at
    the same step, after it: a run that goes on from one repeats and misses nothing. On SIGTERM the step is finished and
    saved: by one process if it has no more micro-batches to come, by several in any case, once they agree on it. Ctrl+C
    may strike in the middle of an optimiser step, and saves nothing.

    Not a `ModelCheckpoint`: that one keeps at most one file without a metric to rank them, and saves in the middle of
    an accumulation after a resume.

    Args:
        every_n_steps: optimiser steps between two checkpoints.
        keep: how many of the newest to keep.
        folder: where; None for `checkpoints` in the Trainer's `default_root_dir`.

    Raises OSError (`ENOSPC`) before training if `keep` checkpoints and the one being written will not fit on the disk,
    and before or during a save if that one does not.
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
            self.folder = Path(trainer.default_root_dir) / CHECKPOINTS
        self._termination = Termination(trainer)
        with suppress(NotImplementedError):  # a sharding strategy may write without any such plugin
            if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
                trainer.strategy.checkpoint_io = CheckpointFile()

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            for partial in self.folder.glob(f"step=*{PARTIAL}"):  # of a process that was killed
                remove(partial)
        self._require_space(trainer, pl_module, self.keep + 1 - len(by_step(self.folder)))

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == "fit":
            rewind_to_step(checkpoint, trainer.accumulate_grad_batches)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._saved, self._due = trainer.global_step, False

    def on_step_end(self, trainer: L.Trainer, step: int) -> None:
        stopping = self._termination.agreed()
        # What is still due waited for a validation that did not come.
        self._due |= stopping or step % self.every_n_steps == 0 or step == trainer.max_steps
        if self._due and not self._validation_follows(trainer):
            self._save(trainer, trainer.lightning_module)

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
            past = [path for step, path in by_step(self.folder) if step <= trainer.global_step]
            for path in past[: -self.keep]:
                remove(path)

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
    """About how large a checkpoint is, in bytes: parameters, buffers, optimiser state, and 5 % and 1 MiB for the rest.

    Before the first step an optimiser has no state yet; AdamW's two moments per parameter are assumed.
    """
    weights = sum(tensor.nbytes for tensor in (*pl_module.parameters(), *pl_module.buffers()))
    state = [value for o in optimizers for moments in o.state.values() for value in moments.values()]
    moments = sum(value.nbytes for value in state if isinstance(value, Tensor))
    trained = sum(parameter.nbytes for parameter in pl_module.parameters() if parameter.requires_grad)
    return int(1.05 * (weights + (moments or 2 * trained))) + 2**20


def _size(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} TiB"
