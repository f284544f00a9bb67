"""While the store is away a sweep waits, and nothing has failed."""

from types import SimpleNamespace

from hcexp.study import wait_for_store
from hcexp.study.wait_for_store import WaitForStore


class Points:
    """A queue of two points."""

    def __init__(self):
        self.left = ["a", "b"]

    def claim(self):
        if not self.left:
            return None
        name = self.left.pop(0)
        return SimpleNamespace(name=name, release=lambda: self.left.insert(0, name))

    def done(self):
        return not self.left


def test_points_wait_for_the_store_and_none_is_lost(monkeypatch):
    points, said, store = Points(), [], SimpleNamespace(away=False, asked=0, now=0.0)

    def answer(uri):
        store.asked += 1
        if store.away:
            raise ConnectionError("MLflow server http://there does not answer (connection refused)")

    monkeypatch.setattr(wait_for_store, "require_answer", answer)
    monkeypatch.setattr(wait_for_store, "time", SimpleNamespace(monotonic=lambda: store.now))
    queue = WaitForStore(points, "http://me:secret@there", said.append)
    assert queue.claim().name == "a"
    store.away = True
    for store.now in range(12):
        assert queue.claim() is None and points.left == ["b"] and not queue.done()
    assert store.asked == 1 + 3  # not at every call
    store.away, store.now = False, 20
    assert queue.claim().name == "b" and queue.done()
    assert said == [
        "MLflow server http://there does not answer (connection refused); no run is begun until it answers",
        "http://there answers again",
    ]
    assert [queue.claim() for _ in range(5)] == [None] * 5 and store.asked == 5, "there is nothing to begin"
