import json
import math
import random
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Thread

import optuna
import pytest
from omegaconf import OmegaConf

from hcexp.study.claim import MAX_ATTEMPTS
from hcexp.study.point import Point, plan
from hcexp.study.queue import Tally
from hcexp.study.search import row_search as module
from hcexp.study.search.search import Search
from hcexp.study.search.space import Space
from hcexp.study.sweep.overrides import read
from hcexp.study.sweep.sweep import Row, Sweep
from tests.study.conftest import FakeRun

LR = {"optimizer.lr": {"low": 3e-4, "high": 3e-2, "log": True}}
SPACE = Space(LR, trials=8, startup=4)
THREE = {"optimizer.lr": {"choices": [0.003, 0.0005, 0.03]}}  # one is finished, one pruned, and one fails
TWO = Space({"optimizer.lr": {"choices": [0.003, 0.0005]}}, trials=6)
ROWS = ("Pre-Norm", "DHC")
CONFIG = {"steps": 6, "seed": 0, "choices": {"schedule": "cosine"}, "evaluation": {"every": None}}
CONFIG |= {"optimizer": {"lr": 0.003}, "model": {"layers": 2}}


class Light(FakeRun):
    """A run that is named by its overrides, and composed by setting the few knobs that there are."""

    def __init__(self, config, overrides):
        named = [o for o in overrides if not o.startswith("paths.")]
        super().__init__(Path(config.paths.runs), sha256(str(named).encode()).hexdigest()[:16])
        self.config, self.overrides = config, overrides


def quick(overrides):
    config = OmegaConf.create(CONFIG)
    for knob, value in read(overrides).items():
        OmegaConf.update(config, knob, value)
    return config


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Makes the `Search` of the rows in a space, as each process has one of its own."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    monkeypatch.setattr(module, "compose", quick)
    monkeypatch.setattr(module, "Run", Light)

    def search(space=SPACE, labels=("DHC",), *overrides):
        rows = tuple(Row(label, (f"residual={label}",)) for label in labels)
        own = [[*row.overrides, f"paths.runs={tmp_path}/runs", "seed=0", *overrides] for row in rows]
        points = [Point(row, 0, Light(quick(each), each)) for row, each in zip(rows, own, strict=True)]
        return Search(Sweep("tune", "A question", None, labels[0], rows, search=space), "tiny", points)

    return search


def result_of(point):
    """What a run of these values gives: the best learning rate is 0.004, high ones diverge, low ones are pruned."""
    rate = point.run.config.optimizer.lr
    if rate > 0.02:
        return {"state": "failed", "error": "loss is nan", "metrics": {}}
    loss = {"local/mean/loss": math.log(rate / 0.004) ** 2}
    return {"state": "pruned" if rate < 0.0006 else "finished", "error": None, "metrics": loss, "steps": 3}


def finish(search, until=10_000):
    """Be the worker; returns the claimed names in order."""
    names = []
    while len(names) < until and (claim := search.claim()):
        names.append(claim.point.name)
        claim.settle(result_of(claim.point))
    return names


def values(found):
    return [trial.values["optimizer.lr"] for trial in found.trials]


def test_every_row_has_the_same_budget_the_same_first_values_and_its_default_first(make, tmp_path):
    search = make(labels=ROWS)
    assert [(found.trials, found.best, found.default) for found in search.found()] == [((), None, None)] * 2
    assert not (tmp_path / "runs").exists(), "a report before the first trial leaves nothing"
    names = finish(search)
    assert names[:4] == ["Pre-Norm, trial 0", "DHC, trial 0", "Pre-Norm, trial 1", "DHC, trial 1"], "they take turns"
    first, second = search.found()
    assert (first.label, second.label, first.overrides) == ("Pre-Norm", "DHC", ("residual=Pre-Norm",))
    assert len(first.trials) == len(second.trials) == SPACE.trials
    assert first.default.values == {"optimizer.lr": 0.003}
    assert first.default.loss == math.log(0.003 / 0.004) ** 2
    assert values(first)[:4] == values(second)[:4] and len(set(values(first)[:4])) == 4
    assert all(3e-4 <= value <= 3e-2 for value in values(first))
    assert search.done() and search.claim() is None and search.tally() == Tally(16, 16, 0)
    known = search.known()
    assert len({identity for identity, _ in known}) == 16 and [label for _, label in known][7:9] == ["Pre-Norm", "DHC"]
    # More trials go on, fewer show the first, and another space is another study.
    more = make(replace(SPACE, trials=10), ROWS)
    assert not more.done() and {name.split()[-1] for name in finish(more)} == {"8", "9"}
    fewer = make(replace(SPACE, trials=3), ROWS)
    assert fewer.done() and fewer.claim() is None
    assert values(fewer.found()[0]) == values(more.found()[0])[:3]
    for changed in ({"knobs": {"optimizer.lr": {"low": 1e-4, "high": 3e-2, "log": True}}}, {"startup": 3}):
        other = make(replace(SPACE, **changed), ROWS)
        assert other.found()[0].trials == () and not other.done()


def test_the_search_comes_nearer_to_the_best_and_keeps_away_from_what_fails(make):
    """A trial that fails at high rates must count, or else they would look like an unknown country."""
    search = make(replace(SPACE, trials=16))
    finish(search)
    (found,) = search.found()
    assert found.best.loss < 0.05 < found.default.loss
    assert abs(math.log(found.best.values["optimizer.lr"] / 0.004)) < 0.25
    assert sum(rate > 0.02 for rate in values(found)[SPACE.startup :]) <= 2


@pytest.mark.parametrize("seed", range(2))
def test_a_search_that_is_killed_and_goes_on_equals_one_that_is_not(make, seed, tmp_path):
    undisturbed = make(labels=ROWS)
    finish(undisturbed)
    expected = undisturbed.found()
    (tmp_path / "runs").rename(tmp_path / "undisturbed")
    draw, search, kills = random.Random(seed), make(labels=ROWS), 0
    while claim := search.claim():
        if draw.random() < 0.4:  # the process dies, and its locks with it
            claim.lock.close()
            search, kills = make(labels=ROWS), kills + 1
        else:
            claim.settle(result_of(claim.point))
    assert kills > 3 and search.done()
    assert search.found() == expected
    states = {trial.state for found in expected for trial in found.trials}
    assert states == {"finished", "pruned", "failed"}, "the comparison is to have all of them"


def test_nobody_draws_beyond_the_budget_and_no_point_is_run_twice(make):
    names = []

    def work(search):
        while not search.done():
            names.extend(finish(search, until=1))

    searches = [make(labels=ROWS) for _ in range(4)]
    threads = [Thread(target=work, args=(search,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failing = sum(found.count("failed") for found in searches[0].found())
    assert len(set(names)) == 16 and len(names) == 16 + (MAX_ATTEMPTS - 1) * failing
    assert [len(found.trials) for found in searches[1].found()] == [8, 8]


@pytest.mark.parametrize("seed", range(3))
def test_a_point_is_run_once_however_often_it_is_drawn(make, seed):
    """Two workers take turns at random, and one of them may be killed."""
    space, draw = Space(THREE, trials=9, startup=4), random.Random(seed)
    search, other = make(space), make(space)
    ended, at_work = [], []
    while not search.done():
        claim = draw.choice([search, other]).claim() if len(at_work) < 2 else None
        if claim:
            assert claim.point.run.identity not in [each.point.run.identity for each in at_work]
            at_work.append(claim)
        if at_work and draw.random() < 0.6:
            claim = at_work.pop(draw.randrange(len(at_work)))
            if draw.random() < 0.3:
                claim.lock.close()
                continue
            ended.append(claim.point.run.identity)
            claim.settle(result_of(claim.point))
    (found,) = search.found()
    states = {0.003: "finished", 0.0005: "pruned", 0.03: "failed"}
    assert [trial.state for trial in found.trials] == [states[rate] for rate in values(found)]
    assert len(found.trials) == 9 and set(values(found)) == set(states)
    runs = {trial.identity: trial.state for trial in found.trials}
    assert all(ended.count(identity) == (MAX_ATTEMPTS if runs[identity] == "failed" else 1) for identity in runs)
    assert {trial.state.name for trial in search._rows[0]._latest()} == {"COMPLETE", "PRUNED", "FAIL"}


def test_what_somebody_is_at_is_left_to_him_and_other_draws_of_it_wait(make):
    here, there = make(TWO), make(TWO)
    theirs, ours = there.claim(), here.claim()
    assert (theirs.point.name, ours.point.name) == ("DHC, trial 0", "DHC, trial 1")
    assert here.claim() is None and there.tally() == Tally(6, 0, 2)
    ours.settle(result_of(ours.point))
    assert there.claim() is None and not there.done()
    assert {trial.state for trial in there.found()[0].trials} == {"pruned", "missing"}
    theirs.lock.close()  # he has died
    again = here.claim()
    assert again.point.name == "DHC, trial 0" and again.point.run.identity == theirs.point.run.identity
    again.settle(result_of(again.point))
    assert here.claim() is None and here.tally() == Tally(6, 6, 0)


def test_a_run_that_is_pruned_while_others_look_for_a_point_is_not_taken(make, monkeypatch):
    search = make(TWO)
    claims = [search.claim(), search.claim()]
    assert search.claim() is None
    (pruned,) = (claim for claim in claims if claim.point.run.config.optimizer.lr == 0.0005)
    with monkeypatch.context() as patched:
        patched.setattr(module.RowSearch, "_settle_repeats", lambda row: None)  # it has just looked
        (pruned.point.run.directory / "result.json").write_text(json.dumps(result_of(pruned.point)))
        pruned.settle(result_of(pruned.point))
        assert search.claim() is None
    assert search.claim() is None and search.found()[0].count("pruned") == values(search.found()[0]).count(0.0005)
    assert pruned.point.run.result()["state"] == "pruned"


def test_what_fails_three_times_has_failed_for_good_for_all_its_draws_until_the_search_is_begun_anew(make):
    search = make(Space(THREE, trials=9))
    names = finish(search)
    (found,) = search.found()
    failed = [draw for draw, rate in enumerate(values(found)) if rate == 0.03]
    assert search.done() and len(failed) > 1 and found.trials[failed[1]].error == "loss is nan"
    assert names.count(f"DHC, trial {failed[0]}") == MAX_ATTEMPTS == len(names) - 2
    told = [(f"DHC, trial {draw}", "loss is nan") for draw in failed]
    assert [(point.name, error) for point, error in search.failed()] == told
    again = make(Space(THREE, trials=9))
    assert again.claim() is None  # of one who only joins
    again.renew()
    claim = again.claim()
    assert claim.point.draw == failed[0] and not again.done() and again.claim() is None
    claim.settle({"state": "finished", "error": None, "metrics": {"local/mean/loss": 0.5}})
    assert again.claim() is None and again.done() and again.failed() == []
    (renewed,) = again.found()
    assert [renewed.trials[draw].loss for draw in failed] == [0.5] * len(failed) and values(renewed) == values(found)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"knobs": {"optimizer.lr": {"low": 0.01, "high": 0.1}}}, "lr=0.003, the default of the row DHC, is not"),
        ({"knobs": {"model.layers": {"low": 1.0, "high": 4.0}}}, "layers=2, the default of the row DHC, is a whole"),
        ({"knobs": {"schedule": {"choices": ["linear"]}}}, "schedule=cosine, the default of the row DHC, is not among"),
        ({"knobs": {"seed": {"low": 1, "high": 3}}}, "seed=0, the default .*low 1, high 3"),
        ({"pruner": {"name": "median"}}, "evaluation.every=None of 6 steps leaves a pruner nothing to look at"),
        ({"pruner": {"name": "median"}, "validations": 1}, "evaluation.every=6 of 6 steps leaves a pruner nothing"),
    ],
)  # fmt: skip
def test_a_space_that_does_not_fit_the_rows_is_refused_in_one_line(make, space, said):
    with pytest.raises(ValueError, match=rf"\A.*{said}.*\Z"):
        make(replace(SPACE, **space))


def test_groups_switches_and_whole_numbers_are_searched_and_validated_as_often_as_the_space_says(make, minute):
    knobs = {"schedule": {"choices": ["cosine", "linear"]}, "optimizer.decay_norms": {"choices": [True, False]}}
    knobs |= {"data.batch_size": {"low": 1, "high": 4}}
    sweep = Sweep("tune", "t", None, "DHC", (Row("DHC"),), search=Space(knobs, trials=3, validations=4))
    search = Search(sweep, "tiny", plan(sweep, "tiny", [*minute, "residual=dhc"]))
    seen = []
    while claim := search.claim():
        assert claim.point.run.config.evaluation.every == 2  # of six steps
        seen.append(claim.point.run.overrides[-3:])
        claim.settle({"state": "finished", "error": None, "metrics": {claim.point.run.headline: 1.0}})
    assert seen[0] == ["schedule=cosine", "optimizer.decay_norms=false", "data.batch_size=2"] and seen[1] != seen[2]
    assert {type(trial.values["data.batch_size"]) for trial in search.found()[0].trials} == {int}
    explicit = make(replace(SPACE, validations=4), ("DHC",), "evaluation.every=5").claim()
    assert explicit.point.run.config.evaluation.every == 5
