"""Where workers get their points from."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from hcexp.study.claim import Claim
from hcexp.study.point import Point


class Tally(NamedTuple):
    """How far a queue has come, in points; one that several rows share counts once."""

    points: int  # all of them
    settled: int  # finished, pruned, or failed for good
    running: int  # at work, here and elsewhere


class Queue(ABC):
    """The points of a sweep: a ledger of rows, or a search. Any number of processes may ask it at once."""

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
    def tally(self) -> Tally:
        """How far it has come."""

    @abstractmethod
    def failed(self) -> list[tuple[Point, str]]:
        """The points that failed for good, each with the error of its last attempt."""

    def done(self) -> bool:
        """Whether every point is settled: finished, pruned, or failed for good."""
        tally = self.tally()
        return tally.settled == tally.points
