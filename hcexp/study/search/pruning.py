"""Ends an unpromising trial of a search."""

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L
from lightning.pytorch.trainer.states import TrainerFn

from hcexp.callbacks import StepCallback
from hcexp.study.search.journal import open_journal
from hcexp.study.sweep.checks import check_key

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.trial import FrozenTrial

# Optuna's classes. What they call a step or a resource is an optimiser step here.
PRUNERS = {
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
}
# Attributes of a search's trial.
PRUNED = "pruned at step"
DRAW = "draw"  # which draw of its row it is, from 0; several attempts may be made at one
IDENTITY = "identity"  # of its run


def make_pruner(name: str, **settings: Any) -> "BasePruner":
    """Optuna's pruner of this name, with settings as Optuna calls them (`n_startup_trials`, `min_resource`, …).

    Raises ValueError, in one line, for an unknown name or setting, or a value that Optuna refuses.
    """
    import optuna

    if name not in PRUNERS:
        raise ValueError(f"{name!r} is not known; choose from {', '.join(PRUNERS)}")
    made = getattr(optuna.pruners, PRUNERS[name])
    allowed = list(inspect.signature(made).parameters)
    for setting in settings:
        check_key(f"{name} has no setting {setting!r}", setting, allowed)
    try:
        return made(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from None


def one_a_draw(trials: Iterable["FrozenTrial"]) -> list["FrozenTrial"]:
    """The newest trial of every draw, in the order of the draws; a trial that no search has drawn is its own."""
    newest = {trial.user_attrs.get(DRAW, trial.number): trial for trial in trials}
    return [newest[draw] for draw in sorted(newest)]


def one_a_run(trials: Iterable["FrozenTrial"]) -> list["FrozenTrial"]:
    """The newest trial of every draw but of those that have drawn the run of an earlier one, in their order."""
    runs: dict[str | int, FrozenTrial] = {}
    for trial in one_a_draw(trials):
        runs.setdefault(_run(trial), trial)
    return list(runs.values())


def _run(trial: "FrozenTrial") -> str | int:
    return trial.user_attrs.get(IDENTITY, trial.number)


class Pruning(StepCallback):
    """Reports the mean validation loss to a trial of an Optuna study after every validation but the last, and stops
    the training if the study's pruner finds it too high among the trials at that optimiser step. There every run
    counts once, however often it was tried or drawn. Of several processes the first decides.

    `pruned` is then true. A run that goes on from a checkpoint reports no step twice, and stops where it would have
    stopped: the decision is written before the report that it follows from.

    Args:
        journal: file that has the study.
        study: the study's name; its trials are better the lower their values are.
        trial: number of the trial.
        pruner: the arguments of `make_pruner`.

    Raises ValueError for a pruner that is none; before training for a journal, study or trial that is not there, or a
    trial that is over.
    """

    def __init__(self, journal: str | Path, study: str, trial: int, pruner: Mapping[str, Any]) -> None:
        try:
            self.pruner = make_pruner(**pruner)
        except (TypeError, ValueError) as error:
            raise ValueError(f"callbacks.pruning.pruner={pruner} is not allowed: {error}") from None
        self.journal, self.study, self.trial = Path(journal), study, trial

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        if not self.journal.is_file():
            raise ValueError(f"callbacks.pruning.journal={self.journal} does not exist; a search's sweep sets it")
        self._storage = open_journal(self.journal)
        try:
            self._study_id = self._storage.get_study_id_from_name(self.study)
            self._trial_id = self._storage.get_trial_id_from_study_id_trial_number(self._study_id, self.trial)
        except KeyError:
            raise ValueError(f"callbacks.pruning: {self.journal} has no trial {self.trial} of {self.study!r}") from None
        if (state := self._storage.get_trial(self._trial_id).state).is_finished():
            raise ValueError(f"callbacks.pruning.trial={self.trial} of {self.study!r} is over: {state.name.lower()}")

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        # The checkpoint may have been written after the validation that decided: that one is not repeated.
        self._stop(trainer, trainer.is_global_zero and self._pruned_at() == trainer.global_step)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        step = trainer.global_step
        if trainer.state.fn != TrainerFn.FITTING or step >= trainer.max_steps:
            return
        if trainer.is_global_zero:
            self._report(step, pl_module.validation[pl_module.headline])
        self._stop(trainer, trainer.is_global_zero and self._pruned_at() == step)

    def _stop(self, trainer: L.Trainer, decided: bool) -> None:
        if trainer.strategy.broadcast(decided):
            self.pruned = trainer.should_stop = True

    def _pruned_at(self) -> int | None:
        return self._storage.get_trial(self._trial_id).user_attrs.get(PRUNED)

    def _report(self, step: int, loss: float) -> None:
        """Enter the decision, the pruner's notes, and the loss: who is killed before that decides once more, alike."""
        if step in self._storage.get_trial(self._trial_id).intermediate_values:
            return
        before, after, decided = self._ask_pruner(step, loss)
        if decided and self._pruned_at() is None:
            self._storage.set_trial_user_attr(self._trial_id, PRUNED, step)
        for name, value in after.system_attrs.items():
            if name not in before.system_attrs:
                self._storage.set_trial_system_attr(self._trial_id, name, value)
        self._storage.set_trial_intermediate_value(self._trial_id, step, loss)

    def _ask_pruner(self, step: int, loss: float) -> tuple["FrozenTrial", "FrozenTrial", bool]:
        """The trial before and after, and whether it is unpromising; asked in a copy of the study without failed
        attempts, in which every trial has the number that it would have without them.
        """
        import optuna

        trials = self._storage.get_all_trials(self._study_id)
        before = trials[self.trial]
        before.intermediate_values[step] = loss
        trials = one_a_run(trials)
        place = [_run(trial) for trial in trials].index(_run(before))
        copy = optuna.create_study(study_name=self.study)
        copy.add_trials(trials)
        decided = self.pruner.prune(copy, copy.get_trials()[place])
        return before, copy.get_trials()[place], decided
