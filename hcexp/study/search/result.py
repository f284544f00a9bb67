"""The result of a row's search, trial by trial."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from hcexp.study.claim import TRIAL_STATES, to_try_again
from hcexp.study.search.pruning import PRUNED


@dataclass(frozen=True)
class TrialRecord:
    """A trial of a row, from the study: `state` is finished, pruned, failed or missing; `step` that at which it was
    pruned, `loss` the mean validation loss at its end or at that step.
    """

    values: Mapping[str, Any]
    state: str
    loss: float | None
    step: int | None
    error: str | None
    identity: str


@dataclass(frozen=True)
class RowResult:
    """The trials of one row; the first of them, if there is one, has the default values."""

    label: str
    overrides: tuple[str, ...]
    trials: tuple[TrialRecord, ...]

    @property
    def default(self) -> TrialRecord | None:
        return self.trials[0] if self.trials else None

    @property
    def best(self) -> TrialRecord | None:
        """The finished trial with the lowest loss, the first of several; None if none is finished."""
        finished = [trial for trial in self.trials if trial.state == "finished" and math.isfinite(trial.loss)]
        return min(finished, key=lambda trial: trial.loss, default=None)

    def count(self, state: str) -> int:
        return sum(trial.state == state for trial in self.trials)


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """A trial of the study; one that is to be tried again, waits or is at work is missing."""
    states = {state: name for name, state in TRIAL_STATES.items()}
    return TrialRecord(
        values=trial.params,
        state="missing" if to_try_again(trial) else states.get(trial.state, "missing"),
        loss=trial.value if trial.state.is_finished() else None,
        step=trial.user_attrs.get(PRUNED) if trial.state == TrialState.PRUNED else None,
        error=trial.user_attrs.get("error"),
        identity=trial.user_attrs["identity"],
    )
