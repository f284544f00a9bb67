"""A search: every row of a sweep is tried with values that Optuna's TPE draws, alike for all rows."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from optuna.storages import JournalStorage

from hcexp.study.claim import Claim
from hcexp.study.point import Point
from hcexp.study.queue import Queue, Tally
from hcexp.study.search.journal import JOURNAL, open_journal
from hcexp.study.search.result import RowResult
from hcexp.study.search.row_search import RowSearch
from hcexp.study.sweep.sweep import Sweep


class Search(Queue):
    """The searches of a sweep's rows as one queue; `points` are the rows in their default configuration.

    Each row has an Optuna study of its own and as many draws as every other. The first one is the default
    configuration; the next are drawn at random, the same for all rows; then TPE draws. What is drawn depends on the
    number of the draw and on the row's trials so far, and on nothing in the process: with one worker a search that was
    killed and goes on draws what an undisturbed one draws. What is still at work, or has failed for good, counts as bad
    (the constant liar), so that several workers keep away from each other and from what fails.

    A study belongs to the row's resolved configuration and the space, but for the number of trials: if either is
    changed it is another study.

    Raises ValueError if a row's default is outside the space, or its pruner has nothing to look at.
    """

    def __init__(self, sweep: Sweep, scale: str, points: Sequence[Point]):
        self._journal = Path(points[0].run.config.paths.runs) / JOURNAL
        name = f"{sweep.name} at scale={scale}"
        self._rows = [RowSearch(name, point, sweep.search, self._journal, lambda: self._storage) for point in points]

    @cached_property
    def _storage(self) -> JournalStorage:
        return open_journal(self._journal)

    def renew(self) -> None:
        for row in self._rows:
            row.renew()

    def claim(self) -> Claim | None:
        """Rows take turns: first the one with the fewest at work, then the one with the fewest draws."""
        for row in sorted(self._rows, key=RowSearch.need):
            if claim := row.claim():
                return claim
        return None

    def known(self) -> list[tuple[str, str]]:
        return [known for row in self._rows for known in row.known()]

    def tally(self) -> Tally:
        return Tally(*map(sum, zip(*(row.tally() for row in self._rows), strict=True)))

    def failed(self) -> list[tuple[Point, str]]:
        return [failed for row in self._rows for failed in row.failed()]

    def found(self) -> list[RowResult]:
        """What there is so far, row by row."""
        return [row.found() for row in self._rows]
