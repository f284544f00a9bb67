"""Taking a point: who holds the lock of a run's folder is at the run, and nobody else can be.

The state of a trial says what is known of its point; the lock says whether somebody is at it. A running trial whose
lock is free belongs to a worker that died, and goes on from the run's checkpoint: there is no time-out to guess.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcexp.run.folder import RESULT
from hcexp.run.lock import RunLock
from hcexp.study.point import Point
from hcexp.study.search.pruning import PRUNED

MAX_ATTEMPTS = 3  # failures of a point after which it has failed for good
TRIAL_STATES = {"finished": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


@dataclass(frozen=True)
class Claim:
    """A point that this process has taken, with its trial in the study. It ends by exactly one of the methods."""

    point: Point
    lock: RunLock
    study: Study
    trial: FrozenTrial

    @property
    def attempt(self) -> int:
        return attempt(self.trial)

    def settle(self, result: Mapping[str, Any]) -> None:
        """Enter the run's result: finished, with its loss as the trial's value, pruned, or failed, an attempt."""
        try:
            if result["error"]:
                self.study._storage.set_trial_user_attr(self.trial._trial_id, "error", result["error"])
            self.study.tell(self.trial.number, value(self.point, result), state=TRIAL_STATES[result["state"]])
        finally:
            self.lock.close()

    def release(self) -> None:
        """Put the point back, because the sweep is stopped: no failure. The next one to take it goes on from here."""
        try:
            if self.point.run.result()["state"] == "failed":  # being stopped is all that failed
                (self.point.run.directory / RESULT).unlink()
            self.study._storage.set_trial_state_values(self.trial._trial_id, TrialState.WAITING)
        finally:
            self.lock.close()


def take(study: Study, trial: FrozenTrial, point: Point) -> Claim | None:
    """Take the point of a trial that waits, or that runs and whose worker is dead; None if that cannot be.

    The lock comes before the state, so that a trial is never running without somebody at it, unless he died. What has
    ended already is settled here: a run that was finished, by whatever means, one that was pruned as this trial (as
    that of another study it goes on), and one whose worker died between its failure and the entry.
    """
    lock = RunLock.take(point.run.directory)
    if lock is None:
        return None
    claim = None
    try:
        trial = study._storage.get_trial(trial._trial_id)
        if trial.state.is_finished():
            return None
        result = point.run.result()
        died = trial.state == TrialState.RUNNING
        ends = {"finished": True, "pruned": PRUNED in trial.user_attrs, "failed": died}.get(result["state"], False)
        if not ends and result["state"] in TRIAL_STATES:  # of an earlier attempt, or of somebody else's
            (point.run.directory / RESULT).unlink()
        if not died and not study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            return None
        claim = Claim(point, lock, study, trial)
        if ends:
            claim.settle(result)
            return None
        return claim
    finally:
        if claim is None:
            lock.close()


def value(point: Point, result: Mapping[str, Any]) -> float | None:
    """Of a finished run its mean validation loss, infinity if there is none or it is nan; of others None."""
    if result["state"] != "finished":
        return None
    loss = result["metrics"].get(point.run.headline, math.inf)
    return math.inf if math.isnan(loss) else loss  # Optuna takes no nan


def attempt(trial: FrozenTrial) -> int:
    """Which attempt at its point the trial is, from 1."""
    return trial.user_attrs.get("attempt", 1)


def to_try_again(trial: FrozenTrial) -> bool:
    """Whether the trial is a failed attempt after which there is another one."""
    return trial.state == TrialState.FAIL and attempt(trial) < MAX_ATTEMPTS


def failed_for_good(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.FAIL and not to_try_again(trial)


def settled(trial: FrozenTrial) -> bool:
    """Whether the trial is finished, pruned, or failed for good."""
    return trial.state.is_finished() and not to_try_again(trial)


def attempt_again(study: Study, trial: FrozenTrial, number: int) -> None:
    """Enter a trial that waits for the same point as `trial`, as attempt `number`; call it under `exclusive`.

    What the point's run has reported is known of the new trial too, for it goes on from the run's checkpoint.
    """
    study.add_trial(
        create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            intermediate_values=trial.intermediate_values,
            system_attrs=trial.system_attrs,
            user_attrs={**{k: v for k, v in trial.user_attrs.items() if k != "error"}, "attempt": number},
        )
    )


def settle_alike(study: Study, trial: FrozenTrial, other: FrozenTrial) -> None:
    """Enter what became of `other`, which is settled, for `trial`, an unsettled one of the same run; under `exclusive`.

    The state comes last: whoever is killed before does it once more.
    """
    storage = study._storage
    storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)  # for Optuna, what has ended has begun
    for step, loss in other.intermediate_values.items():
        storage.set_trial_intermediate_value(trial._trial_id, step, loss)
    for name in ("error", PRUNED, "attempt"):
        if name in other.user_attrs:
            storage.set_trial_user_attr(trial._trial_id, name, other.user_attrs[name])
    storage.set_trial_state_values(trial._trial_id, other.state, other.values)
