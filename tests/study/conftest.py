import json
from types import SimpleNamespace

import optuna
import pytest

from hcexp.disk.atomic import write_json
from hcexp.run.folder import RESULT
from hcexp.study import Ledger, Point, Row, Sweep, plan


class Killed(Exception):
    """In place of SIGKILL."""


def killed_after(writes, storage, names, monkeypatch):
    """Makes the storage's methods of these names raise `Killed` after so many calls."""
    left = iter(range(writes))

    def frail(write):
        def call(*arguments):
            if next(left, None) is None:
                raise Killed
            return write(*arguments)

        return call

    for name in names:
        monkeypatch.setattr(storage, name, frail(getattr(storage, name)))


@pytest.fixture
def points(minute):
    """The points of a sweep of minute runs with rows {label: overrides}; the first one is the baseline."""

    def make(rows, **content):
        named = tuple(Row(label, tuple(own)) for label, own in rows.items())
        return plan(Sweep("own", "A question", None, named[0].label, named, **content), "tiny", minute)

    return make


class FakeRun:
    """A run as a ledger sees it: a folder, and the result that is in there."""

    headline = "local/mean/loss"

    def __init__(self, runs, identity):
        self.identity, self.directory, self.overrides = identity, runs / identity, [f"name={identity}"]
        self.config = SimpleNamespace(paths=SimpleNamespace(runs=str(runs)))

    def result(self):
        path = self.directory / RESULT
        return json.loads(path.read_text()) if path.exists() else {"state": "missing", "error": None, "metrics": {}}

    def leave(self, state, loss=1.5, error=None):
        """What its process would leave at its end."""
        self.directory.mkdir(parents=True, exist_ok=True)
        result = {"state": state, "error": error, "metrics": {self.headline: loss}, "record": {"code": "of today"}}
        write_json(self.directory / RESULT, result)
        return result


@pytest.fixture
def fakes(tmp_path):
    """Points of runs that nobody can train, by their identities; equal ones share a run."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)

    def make(*identities):
        return [Point(Row(f"row {name}"), 0, FakeRun(tmp_path / "runs", name)) for name in identities]

    return make


@pytest.fixture
def ledger(fakes):
    """Makes the ledger of fake points, as each process has one of its own."""
    return lambda *names: Ledger("a study", fakes(*names))
