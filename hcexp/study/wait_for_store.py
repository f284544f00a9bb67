"""A queue that begins nothing while the tracking store is away, since a run without its store does not start."""

import time
from collections.abc import Callable

from hcexp.study.claim import Claim
from hcexp.study.queue import Queue
from hcexp.tracking import public
from hcexp.tracking.store import require_answer

PAUSE_SECONDS = 5  # between two questions to a store that is away


class WaitForStore:
    """Gives what `queue` gives, but nothing while the store does not answer: runs at work go on, and wait with what
    they have to tell; those that are next wait too, and none has failed. `say` is told once that the store is away, and
    once that it is back.
    """

    def __init__(self, queue: Queue, uri: str, say: Callable[[str], None]):
        self._queue, self._uri, self._say = queue, uri, say
        self._away, self._asked = False, -float("inf")

    def claim(self) -> Claim | None:
        if self._away and time.monotonic() - self._asked < PAUSE_SECONDS:
            return None
        if (claim := self._queue.claim()) is None:
            return None
        try:
            require_answer(self._uri)
        except ConnectionError as error:
            claim.release()
            if not self._away:
                self._say(f"{error}; no run is begun until it answers")
            self._away, self._asked = True, time.monotonic()
            return None
        if self._away:
            self._say(f"{public(self._uri)} answers again")
        self._away = False
        return claim

    def done(self) -> bool:
        return self._queue.done()
