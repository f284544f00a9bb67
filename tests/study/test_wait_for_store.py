"""While the store is away a sweep waits, and nothing has failed."""

from types import SimpleNamespace

from hcexp.study import wait_for_store
from hcexp.study.queue import Tally
from hcexp.study.wait_for_store import WaitForStore


def test_points_wait_for_the_store_and_none_is_lost(ledger, monkeypatch):
    points, said, store = ledger("a", "b"), [], SimpleNamespace(away=False, asked=0, now=0.0)

    def answer(uri):
        store.asked += 1
        if store.away:
            raise ConnectionError("MLflow server http://there does not answer (connection refused)")

    monkeypatch.setattr(wait_for_store, "require_answer", answer)
    monkeypatch.setattr(wait_for_store, "time", SimpleNamespace(monotonic=lambda: store.now))
    queue = WaitForStore(points, "http://me:secret@there", said.append)
    assert queue.claim().point.name == "row a, seed 0"
    store.away = True
    for store.now in range(12):
        assert queue.claim() is None and points.tally() == Tally(2, 0, 1)
    assert store.asked == 1 + 3  # not at every call
    store.away, store.now = False, 20
    claim = queue.claim()
    assert claim.point.name == "row b, seed 0" and claim.attempt == 1 and not queue.done()
    assert said == [
        "MLflow server http://there does not answer (connection refused); no run is begun until it answers",
        "http://there answers again",
    ]
    assert [queue.claim() for _ in range(5)] == [None] * 5 and store.asked == 5, "there is nothing to begin"
