"""SIGTERM, as all processes of a run take it."""

from typing import Any

import lightning.pytorch as L
import torch


class Termination:
    """Lets the processes of a run end at the same optimiser step, whichever of them was sent SIGTERM, and when.

    Lightning's handler talks to the other processes from where the signal strikes, which may be between two other
    exchanges of theirs, and then each process ends by itself. Here it only remembers, until all ask at a step's end.
    """

    def __init__(self, trainer: L.Trainer):
        self._trainer, self._sent = trainer, False
        if trainer.world_size > 1:
            trainer._signal_connector._sigterm_notifier_fn = self._remember  # there is no public way

    def _remember(self, *_: Any) -> None:
        self._sent = True

    def agreed(self) -> bool:
        """Whether any process was sent SIGTERM; all have to ask. From then on Lightning knows it, and ends training."""
        trainer = self._trainer
        if trainer.world_size > 1:
            sent = torch.tensor(float(self._sent), device=trainer.strategy.root_device)
            trainer._signal_connector.received_sigterm = bool(trainer.strategy.reduce(sent, reduce_op="max"))
        return trainer.received_sigterm
