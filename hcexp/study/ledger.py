"""The ledger of a sweep's rows: an Optuna study with a trial for every run, named by the run's identity.

The result files are what counts: what lies on the disk is entered, and what is no longer there is run again.
"""

from collections.abc import Sequence
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from hcexp.study.claim import Claim, attempt, take, value
from hcexp.study.point import Point
from hcexp.study.queue import StudyQueue
from hcexp.study.search.journal import JOURNAL, exclusive, open_journal


class Ledger(StudyQueue):
    """The points of a sweep's rows, one or more, in the order in which they are to be run, in the study `name`.

    Points that share a run share a trial. Each is run once; one that fails is tried again, after the others, until it
    has failed `MAX_ATTEMPTS` times. Raises what `open_journal` raises.
    """

    def __init__(self, name: str, points: Sequence[Point]):
        self._points: dict[str, Point] = {}
        for point in points:
            self._points.setdefault(point.run.identity, point)
        journal = Path(points[0].run.config.paths.runs) / JOURNAL
        super().__init__(name, journal, lambda: open_journal(journal), len(self._points))
        with exclusive(journal):
            self._enter()

    def claim(self) -> Claim | None:
        self._try_again()
        unsettled = [trial for trial in self._latest() if not trial.state.is_finished()]
        for trial in sorted(unsettled, key=attempt):
            if claim := take(self._study, trial, self._point_of(trial)):
                return claim
        return None

    def known(self) -> list[tuple[str, str]]:
        return [(identity, point.row.label) for identity, point in self._points.items()]

    def _enter(self) -> None:
        """Enter what the study does not know: points that are new, runs that were finished without it, and finished
        ones that are no longer on the disk.
        """
        latest = {_identity(trial): trial for trial in self._latest()}
        for identity, point in self._points.items():
            loss = value(point, point.run.result())  # None: it is not finished
            trial = latest.get(identity)
            if trial is None or (trial.state.is_finished() and (loss is None) == (trial.state == TrialState.COMPLETE)):
                state = TrialState.WAITING if loss is None else TrialState.COMPLETE
                self._add(point, {"seed": point.seed}, state=state, value=loss)

    def _latest(self) -> list[FrozenTrial]:
        latest = {_identity(trial): trial for trial in self._study.get_trials(deepcopy=False)}
        return [latest[identity] for identity in self._points if identity in latest]

    def _point_of(self, trial: FrozenTrial) -> Point:
        return self._points[_identity(trial)]


def _identity(trial: FrozenTrial) -> str:
    return trial.user_attrs["identity"]
