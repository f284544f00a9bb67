import json
import math
import random
from copy import deepcopy
from dataclasses import replace
from functools import cache
from threading import Thread

import pytest
from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.run.run import Run
from hcexp.study.claim import MAX_ATTEMPTS
from hcexp.study.point import Point
from hcexp.study.queue import Tally
from hcexp.study.search import row_search as module
from hcexp.study.search.search import Search
from hcexp.study.search.space import Space
from hcexp.study.sweep.overrides import read
from hcexp.study.sweep.sweep import Row, Sweep
from tests.conftest import MINUTE

LR = {"optimizer.lr": {"low": 3e-4, "high": 3e-2, "log": True}}
SPACE = Space(LR, trials=8, startup=4)
ROWS = {"Pre-Norm": "residual=pre_norm", "DHC": "residual=dhc"}


@pytest.fixture(scope="module")
def configurations(texts):
    """Of every row, composed once, for that takes a good part of a second."""
    files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt", f"paths.cache={texts}/cache"]
    overrides = {label: [*MINUTE, *files, override, "seed=0"] for label, override in ROWS.items()}
    return {label: (compose(own), own) for label, own in overrides.items()}


@pytest.fixture
def make(configurations, tmp_path, monkeypatch):
    """Makes the `Search` of the rows in a space, as each process has one of its own; runs are composed by setting the
    knobs, and kept.
    """
    kept = {}

    def run(config, overrides):
        key = (*overrides, str(config.evaluation.every))
        return kept.get(key) or kept.setdefault(key, Run(config, overrides))

    @cache
    def composed(overrides):
        config, own = next(each for each in configurations.values() if list(overrides[: len(each[1])]) == each[1])
        config = deepcopy(config)
        for knob, value in {**read(overrides[len(own) :]), "paths.runs": str(tmp_path / "runs")}.items():
            OmegaConf.update(config, knob, value)
        return config

    def quick(overrides):
        return composed(tuple(overrides))

    monkeypatch.setattr(module, "compose", quick)
    monkeypatch.setattr(module, "Run", run)

    def search(space=SPACE, labels=tuple(ROWS)):
        sweep = Sweep("tune", "A question", None, labels[0], tuple(Row(label, (ROWS[label],)) for label in labels))
        sweep = replace(sweep, search=space)
        points = [Point(row, 0, run(quick(own), own)) for row in sweep.rows for own in [configurations[row.label][1]]]
        return Search(sweep, "tiny", points)

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


def test_every_row_has_the_same_budget_the_same_first_values_and_its_default_first(make):
    search = make()
    finish(search)
    first, second = search.found()
    assert (first.label, second.label, first.overrides) == ("Pre-Norm", "DHC", ("residual=pre_norm",))
    assert len(first.trials) == len(second.trials) == SPACE.trials
    assert first.default.values == {"optimizer.lr": 0.003}
    assert values(first)[:4] == values(second)[:4] and len(set(values(first)[:4])) == 4
    assert all(3e-4 <= value <= 3e-2 for value in values(first))
    assert search.done() and search.claim() is None
    tally = search.tally()
    assert (tally.points, tally.settled, tally.running) == (16, 16, 0)
    known = search.known()
    assert len({identity for identity, _ in known}) == 16 and [label for _, label in known][7:9] == ["Pre-Norm", "DHC"]


def test_rows_take_turns(make):
    assert finish(make(), until=4) == ["Pre-Norm, trial 0", "DHC, trial 0", "Pre-Norm, trial 1", "DHC, trial 1"]


def test_the_search_comes_nearer_to_the_best(make):
    search = make(replace(SPACE, trials=16), labels=("DHC",))
    finish(search)
    (found,) = search.found()
    assert found.best.loss < 0.05 < found.default.loss
    assert abs(math.log(found.best.values["optimizer.lr"] / 0.004)) < 0.25


@pytest.mark.parametrize("seed", range(3))
def test_a_search_that_is_killed_and_goes_on_equals_one_that_is_not(make, seed, tmp_path):
    undisturbed = make()
    finish(undisturbed)
    expected = undisturbed.found()
    (tmp_path / "runs").rename(tmp_path / "undisturbed")
    draw, search, kills = random.Random(seed), make(), 0
    while claim := search.claim():
        if draw.random() < 0.4:  # the process dies, and its locks with it
            claim.lock.close()
            search, kills = make(), kills + 1
        else:
            claim.settle(result_of(claim.point))
    assert kills > 3 and search.done()
    assert search.found() == expected
    states = {trial.state for found in expected for trial in found.trials}
    assert states == {"finished", "pruned", "failed"}, "the comparison is to have all of them"


def test_a_point_at_which_somebody_is_is_left_to_him(make):
    here, there = make(labels=("DHC",)), make(labels=("DHC",))
    theirs = there.claim()
    ours = here.claim()
    assert (theirs.point.name, ours.point.name) == ("DHC, trial 0", "DHC, trial 1")
    assert here.tally().running == 2 and not here.done()
    theirs.lock.close()
    again = here.claim()
    assert again.point.name == "DHC, trial 0" and again.point.run.identity == theirs.point.run.identity


def test_nobody_draws_beyond_the_budget_and_no_point_is_run_twice(make):
    names = []

    def work(search):
        while not search.done():
            names.extend(finish(search, until=1))

    searches = [make() for _ in range(4)]
    threads = [Thread(target=work, args=(search,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failing = [found for found in searches[0].found() for trial in found.trials if trial.state == "failed"]
    assert len(set(names)) == 16 and len(names) == 16 + (MAX_ATTEMPTS - 1) * len(failing)
    assert [len(found.trials) for found in searches[1].found()] == [8, 8]


def test_more_trials_go_on_and_fewer_show_the_first(make):
    finish(make())
    more = make(replace(SPACE, trials=10))
    assert not more.done()
    assert {name.split()[-1] for name in finish(more)} == {"8", "9"}
    fewer = make(replace(SPACE, trials=3))
    assert fewer.done() and fewer.claim() is None
    assert values(fewer.found()[0]) == values(more.found()[0])[:3]


@pytest.mark.parametrize(
    "changed", [{"knobs": {"optimizer.lr": {"low": 1e-4, "high": 3e-2, "log": True}}}, {"startup": 3}]
)
def test_another_space_is_another_study(make, changed):
    finish(make())
    other = make(replace(SPACE, **changed))
    assert other.found()[0].trials == () and not other.done()


def test_what_fails_three_times_has_failed_for_good_until_the_search_is_begun_anew(make):
    search = make(labels=("DHC",))
    names = finish(search)
    (found,) = search.found()
    failed = [number for number, trial in enumerate(found.trials) if trial.state == "failed"]
    assert failed, "the values are to have one that diverges"
    for number in failed:
        assert names.count(f"DHC, trial {number}") == MAX_ATTEMPTS
    assert search.done() and found.trials[failed[0]].error == "loss is nan"
    assert [(point.name, error) for point, error in search.failed()] == [
        (f"DHC, trial {n}", "loss is nan") for n in failed
    ]

    again = make(labels=("DHC",))
    assert again.claim() is None  # of one who only joins
    again.renew()
    claim = again.claim()
    assert claim.point.name == f"DHC, trial {failed[0]}" and not again.done()
    claim.settle({"state": "finished", "error": None, "metrics": {"local/mean/loss": 0.5}})
    assert again.found()[0].trials[failed[0]].state == "finished"
    assert values(again.found()[0]) == values(found)


def test_draws_keep_away_from_what_fails(make):
    """A trial that fails at high rates must count, or else they would look like an unknown country."""
    search = make(replace(SPACE, trials=16), labels=("DHC",))
    finish(search)
    drawn = values(search.found()[0])[SPACE.startup :]
    assert sum(rate > 0.02 for rate in drawn) <= 2


THREE = {"optimizer.lr": {"choices": [0.003, 0.0005, 0.03]}}  # one is finished, one pruned, and one fails


@pytest.mark.parametrize("seed", range(3))
def test_a_point_is_run_once_however_often_it_is_drawn(make, seed):
    """Two workers take turns at random, and one of them may be killed."""
    space, draw = Space(THREE, trials=9, startup=4), random.Random(seed)
    search, other = make(space, labels=("DHC",)), make(space, labels=("DHC",))
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


def test_a_draw_of_what_is_at_work_waits_for_it(make):
    space = Space({"optimizer.lr": {"choices": [0.003, 0.0005]}}, trials=6)
    search, other = make(space, labels=("DHC",)), make(space, labels=("DHC",))
    claims = [search.claim(), other.claim()]
    assert search.claim() is None and other.tally() == Tally(6, 0, 2)
    claims[0].settle(result_of(claims[0].point))
    assert other.claim() is None and not other.done()
    assert {trial.state for trial in other.found()[0].trials} == {"finished", "missing"}
    claims[1].settle(result_of(claims[1].point))
    assert search.claim() is None and search.tally() == Tally(6, 6, 0)


def test_a_run_that_is_pruned_while_others_look_for_a_point_is_not_taken(make, monkeypatch):
    search = make(Space({"optimizer.lr": {"choices": [0.003, 0.0005]}}, trials=6), labels=("DHC",))
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


def test_what_has_failed_for_good_is_tried_again_once_for_all_its_draws(make):
    search = make(Space(THREE, trials=9), labels=("DHC",))
    finish(search)
    failed = [draw for draw, rate in enumerate(values(search.found()[0])) if rate == 0.03]
    assert len(failed) > 1 and [point.draw for point, _ in search.failed()] == failed
    search.renew()
    claim = search.claim()
    assert claim.point.draw == failed[0] and search.claim() is None
    claim.settle({"state": "finished", "error": None, "metrics": {"local/mean/loss": 0.5}})
    assert search.claim() is None and search.done() and search.failed() == []
    assert [search.found()[0].trials[draw].loss for draw in failed] == [0.5] * len(failed)


def test_a_run_that_is_finished_already_is_entered_and_not_repeated(make):
    first = make(labels=("DHC",)).claim()
    first.lock.close()
    folder = first.point.run.directory
    (folder / "result.json").write_text(json.dumps(result_of(first.point)))
    search = make(labels=("DHC",))
    assert search.claim().point.name == "DHC, trial 1"
    assert search.found()[0].default.loss == result_of(first.point)["metrics"]["local/mean/loss"]


def test_a_report_before_the_first_trial_leaves_nothing(make, tmp_path):
    search = make()
    assert [found.trials for found in search.found()] == [(), ()]
    assert search.found()[0].best is None and search.found()[0].default is None
    assert not (tmp_path / "runs").exists()


def test_a_trial_is_validated_as_often_as_the_space_says(make, configurations):
    claim = make(replace(SPACE, validations=4)).claim()
    assert claim.point.run.config.evaluation.every == 2  # of six steps
    config, own = configurations["DHC"]
    point = Point(Row("DHC"), 0, Run(config, [*own, "evaluation.every=5"]))
    sweep = Sweep("tune", "A question", None, "DHC", (Row("DHC"),), search=replace(SPACE, validations=4))
    (search,) = Search(sweep, "tiny", [point])._rows
    assert search._point.run.config.evaluation.every is None, "what was given explicitly stays as it is"


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            {"knobs": {"optimizer.lr": {"low": 0.01, "high": 0.1}}},
            "optimizer.lr=0.003, the default of the row Pre-Norm, is not",
        ),
        (
            {"knobs": {"model.layers": {"low": 1.0, "high": 4.0}}},
            "model.layers=2, the default of the row Pre-Norm, is a whole",
        ),
        (
            {"knobs": {"schedule": {"choices": ["linear"]}}},
            "schedule=cosine, the default of the row Pre-Norm, is not among",
        ),
        (
            {"knobs": {"seed": {"low": 1, "high": 3}}},
            "seed=0, the default of the row Pre-Norm, is not among .*low 1, high 3",
        ),
        ({"pruner": {"name": "median"}}, "evaluation.every=None of 6 steps leaves a pruner nothing to look at"),
        ({"pruner": {"name": "median"}, "validations": 1}, "evaluation.every=6 of 6 steps leaves a pruner nothing"),
    ],
)
def test_a_space_that_does_not_fit_the_rows_is_refused(make, space, said):
    with pytest.raises(ValueError, match=said) as error:
        make(replace(SPACE, **space))
    assert "\n" not in str(error.value)


def test_groups_switches_and_whole_numbers_can_be_searched(make):
    knobs = {
        "schedule": {"choices": ["cosine", "linear"]},
        "optimizer.decay_norms": {"choices": [True, False]},
        "data.batch_size": {"low": 1, "high": 4},
    }
    search = make(Space(knobs, trials=5), labels=("DHC",))
    seen = []
    while claim := search.claim():
        seen.append(claim.point.run.overrides[-3:])
        claim.settle({"state": "finished", "error": None, "metrics": {"local/mean/loss": 1.0}})
    assert seen[0] == ["schedule=cosine", "optimizer.decay_norms=false", "data.batch_size=2"]
    assert {type(trial.values["data.batch_size"]) for trial in search.found()[0].trials} == {int}
    assert len(set(map(tuple, seen))) > 2
