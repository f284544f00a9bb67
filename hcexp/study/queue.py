"""Where workers get their points from."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcexp.configuration import shareable
from hcexp.study.claim import Claim, attempt, attempt_again, failed_for_good, settled, to_try_again
from hcexp.study.point import Point
from hcexp.study.search.journal import exclusive


class Tally(NamedTuple):
    """How far a queue has come, in points; one that several rows share counts once."""

    points: int
    settled: int  # finished, pruned, or failed for good
    running: int  # at work, here and elsewhere


class Queue(ABC):
    """The points of a sweep, or of a row. Any number of workers in any number of processes may ask at once."""

    @abstractmethod
    def renew(self) -> None:
        """Give what has failed for good its attempts anew: somebody has mended something."""

    @abstractmethod
    def claim(self) -> Claim | None:
        """A point to run next; None while there is nothing to take. Called only with a worker free for it."""

    @abstractmethod
    def known(self) -> list[tuple[str, str]]:
        """The identity and the row's label of every run that it knows of."""

    @abstractmethod
    def tally(self) -> Tally: ...

    @abstractmethod
    def failed(self) -> list[tuple[Point, str]]:
        """The points that failed for good, each with the error of its last attempt."""

    def done(self) -> bool:
        """Whether every point is settled: finished, pruned, or failed for good."""
        tally = self.tally()
        return tally.settled == tally.points


class StudyQueue(Queue):
    """The points of one Optuna study, `total` of them with those that have no trial yet; of a point's trials the newest
    counts. The study is made, in the file `journal` of `storage`, when it is first asked for.
    """

    def __init__(self, name: str, journal: Path, storage: Callable[[], JournalStorage], total: int):
        self._name, self._journal, self._storage, self._total = name, journal, storage, total

    @cached_property
    def _study(self) -> optuna.Study:
        return optuna.create_study(storage=self._storage(), study_name=self._name, load_if_exists=True)

    @abstractmethod
    def _latest(self) -> list[FrozenTrial]:
        """The newest trial of every point."""

    @abstractmethod
    def _point_of(self, trial: FrozenTrial) -> Point: ...

    def renew(self) -> None:
        self._try_again(failed_for_good, 1)

    def tally(self) -> Tally:
        latest = self._latest()
        running = sum(trial.state == TrialState.RUNNING for trial in latest)
        return Tally(self._total, sum(map(settled, latest)), running)

    def failed(self) -> list[tuple[Point, str]]:
        return [(self._point_of(t), t.user_attrs["error"]) for t in filter(failed_for_good, self._latest())]

    def _add(self, point: Point, more: Mapping[str, Any], **trial: Any) -> None:
        """Enter a first attempt at a point, with `more` attributes; `trial` goes to Optuna's `create_trial`."""
        known = {"identity": point.run.identity, "label": point.row.label}
        attributes = {**known, **more, "overrides": shareable(point.run.overrides), "attempt": 1}
        self._study.add_trial(create_trial(user_attrs=attributes, **{"state": TrialState.WAITING, **trial}))

    def _try_again(self, chosen: Callable[[FrozenTrial], bool] = to_try_again, number: int | None = None) -> None:
        """Enter another attempt at every chosen point, as attempt `number`, or as the one after the last."""
        if any(map(chosen, self._latest())):
            with exclusive(self._journal):
                for trial in filter(chosen, self._latest()):
                    attempt_again(self._study, trial, number or attempt(trial) + 1)
