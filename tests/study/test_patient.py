"""While the store is away a sweep waits, and nothing has failed."""

import pytest

from hcexp.study import patient
from hcexp.study.patient import Patient


class Points:
    """A source of two points."""

    def __init__(self):
        self.left = ["a", "b"]

    def claim(self):
        if not self.left:
            return None
        return Taken(self, self.left.pop(0))

    def done(self):
        return not self.left


class Taken:
    def __init__(self, source, name):
        self.source, self.name = source, name

    def release(self):
        self.source.left.insert(0, self.name)


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 0.0

    monkeypatch.setattr("hcexp.study.patient.time.monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def store(monkeypatch):
    class Store:
        away, asked = False, 0

    def answer(uri):
        Store.asked += 1
        if Store.away:
            raise ConnectionError("MLflow server http://there does not answer (connection refused)")

    monkeypatch.setattr(patient, "require_answer", answer)
    return Store


def test_points_wait_for_the_store_and_none_is_lost(clock, store):
    points, said = Points(), []
    source = Patient(points, "http://me:secret@there", said.append)
    assert source.claim().name == "a"
    store.away = True
    for second in range(12):
        clock.now = second
        assert source.claim() is None and points.left == ["b"] and not source.done()
    assert store.asked == 1 + 3  # not at every call
    store.away, clock.now = False, 20
    assert source.claim().name == "b" and source.done()
    assert said == [
        "MLflow server http://there does not answer (connection refused); no run is begun until it answers",
        "http://there answers again",
    ]


def test_nobody_is_asked_while_there_is_nothing_to_begin(clock, store):
    points = Points()
    points.left.clear()
    source = Patient(points, "http://there", print)
    assert [source.claim() for _ in range(5)] == [None] * 5 and store.asked == 0
