import random
from contextlib import nullcontext
from types import SimpleNamespace

import optuna
import pytest
from lightning.pytorch.trainer.states import TrainerFn
from optuna.trial import TrialState, create_trial

from hcexp.callbacks import StepCheckpoint
from hcexp.study.search.journal import open_journal
from hcexp.study.search.pruning import (
    DRAW,
    IDENTITY,
    PRUNED,
    Pruning,
    make_pruner,
    one_a_draw,
    one_a_run,
)  # fmt: skip
from tests.study.conftest import Killed, killed_after

MEDIAN = {"name": "median", "n_startup_trials": 2}
GOOD = {2: 5.0, 4: 4.0, 6: 3.0, 8: 2.0}
BAD = {2: 5.0, 4: 4.9, 6: 4.8, 8: 4.7}  # behind the median from step 4 on


@pytest.fixture
def study(tmp_path):
    """A study with three finished trials, and one that runs."""
    storage = open_journal(tmp_path / "studies.journal")
    study = optuna.create_study(storage=storage, study_name="one row's")
    for worse in (0.0, 0.5, 1.0):
        course = {step: loss + worse for step, loss in GOOD.items()}
        study.add_trial(create_trial(value=course.pop(8), intermediate_values=course))
    study.add_trial(create_trial(state=TrialState.RUNNING))
    return study


@pytest.fixture
def pruning(study, tmp_path):
    """Makes the callback of a new process."""

    def make(pruner=MEDIAN, trial=3, name="one row's", journal="studies.journal"):
        return Pruning(journal=tmp_path / journal, study=name, trial=trial, pruner=pruner)

    return make


@pytest.fixture
def validated(regression):
    """A module that validates every 2 steps; `losses` gives the mean loss at a step."""

    class Validated(regression):
        headline = "local/mean/loss"

        def __init__(self, losses, **knobs):
            super().__init__(**knobs)
            self.losses = losses

        def on_validation_epoch_end(self):
            self.validation = {"local/mean/loss": self.losses[self.trainer.global_step]}

    return Validated


EVERY_2 = {"limit_val_batches": 1, "val_check_interval": 2, "check_val_every_n_epoch": None}


def reported(study):
    return study.trials[3].intermediate_values


def test_a_good_trial_reports_all_validations_but_the_last_and_a_bad_one_is_stopped(study, pruning, validated, fit):
    callback = pruning()
    trainer = fit(validated(GOOD), [callback], 8, **EVERY_2)
    assert trainer.global_step == 8 and callback.pruned is False
    assert reported(study) == {2: 5.0, 4: 4.0, 6: 3.0}
    assert PRUNED not in study.trials[3].user_attrs
    study.add_trial(create_trial(state=TrialState.RUNNING))
    callback = pruning(trial=4)
    trainer = fit(validated(BAD), [callback], 8, **EVERY_2)
    assert trainer.global_step == 4 and callback.pruned is True
    study.tell(4, state=TrialState.PRUNED)
    pruned = study.trials[4]
    assert (pruned.value, pruned.intermediate_values, pruned.user_attrs[PRUNED]) == (4.9, {2: 5.0, 4: 4.9}, 4)


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_a_loss_that_is_not_a_number_stops_it(study, pruning, validated, fit):
    assert fit(validated({2: float("nan")}), [pruning()], 8, **EVERY_2).global_step == 2


def test_a_trial_that_goes_on_reports_nothing_twice_and_is_stopped_all_the_same(
    study, pruning, validated, fit, tmp_path
):
    def die(trainer, *_):
        if trainer.global_step == 5:
            raise Killed

    callback = pruning()
    callback.on_train_batch_end = die
    with pytest.raises(Killed):
        fit(validated(GOOD), [callback, StepCheckpoint(1, keep=9)], 8, **EVERY_2)
    assert reported(study) == {2: 5.0, 4: 4.0}
    checkpoint = tmp_path / "checkpoints" / "step=000003.ckpt"
    other = {4: 99.0, 6: 4.8}  # were it reported again, step 4 would be another
    trainer = fit(validated(other, start=3), [pruning()], 8, ckpt=checkpoint, **EVERY_2)
    assert reported(study) == {2: 5.0, 4: 4.0, 6: 4.8}
    assert trainer.global_step == 6


def test_a_decision_outlives_a_kill_at_any_moment(study, pruning, validated, fit, tmp_path):
    fit(validated(BAD), [pruning(), StepCheckpoint(1, keep=9)], 8, **EVERY_2)
    checkpoints = tmp_path / "checkpoints"
    # Killed after the checkpoint of the step that decided: that validation is not repeated.
    callback = pruning()
    trainer = fit(validated({}, start=4), [callback], 8, ckpt=checkpoints / "step=000004.ckpt", **EVERY_2)
    assert trainer.global_step == 4 and callback.pruned is True
    # Killed before it: it is, and decides nothing new.
    callback = pruning()
    trainer = fit(validated(GOOD, start=3), [callback], 8, ckpt=checkpoints / "step=000003.ckpt", **EVERY_2)
    assert trainer.global_step == 4 and callback.pruned is True
    assert reported(study) == {2: 5.0, 4: 4.9}


@pytest.mark.parametrize("writes", range(4))
def test_a_decision_that_is_killed_half_way_is_the_same_the_second_time(
    study, pruning, validated, fit, writes, monkeypatch
):
    """Successive halving notes its rungs in the trial, and would take what it has noted for a promotion."""
    halving = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}
    for loss in (1.0, 2.0):
        study.add_trial(create_trial(value=loss, system_attrs={"completed_rung_0": loss}))

    names = ("set_trial_user_attr", "set_trial_system_attr", "set_trial_intermediate_value")

    def frail(path):
        storage = open_journal(path)
        killed_after(writes, storage, names, monkeypatch)
        return storage

    with monkeypatch.context() as patch, pytest.raises(Killed) if writes < 3 else nullcontext():
        patch.setattr("hcexp.study.search.pruning.open_journal", frail)
        fit(validated({2: 5.0}), [pruning(halving)], 8, **EVERY_2)
    again = pruning(halving)
    trainer = fit(validated({2: 5.0}), [again], 8, **EVERY_2)
    assert trainer.global_step == 2 and again.pruned
    assert reported(study) == {2: 5.0} and study.trials[3].system_attrs == {"completed_rung_0": 5.0}


def report(callback, losses):
    """What happens in a run whose validations give these losses; the step at which it is pruned, if it is."""
    strategy = SimpleNamespace(broadcast=lambda decided: decided)
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    trainer = SimpleNamespace(is_global_zero=True, strategy=strategy, state=state, max_steps=99)
    callback.on_fit_start(trainer, None)
    for trainer.global_step, loss in losses.items():
        module = SimpleNamespace(headline="local/mean/loss", validation={"local/mean/loss": loss})
        callback.on_validation_end(trainer, module)
        if callback.pruned:
            return trainer.global_step
    return None


def search(storage, name, pruning, pruner, courses, failures=None):
    """One draw after the other; of some a first attempt fails after so many reports. Where each was pruned."""
    study = optuna.create_study(storage=storage, study_name=name)
    ends = []
    for draw, course in enumerate(courses):
        known = {"user_attrs": {DRAW: draw, IDENTITY: str(draw)}}
        if draw in (failures or {}):
            study.add_trial(create_trial(state=TrialState.RUNNING, **known))
            number = len(study.trials) - 1
            report(pruning(pruner, trial=number, name=name), dict(list(course.items())[: failures[draw]]))
            study.tell(number, state=TrialState.FAIL)
            known = {each: getattr(study.trials[number], each) for each in ATTRIBUTES}
        study.add_trial(create_trial(state=TrialState.RUNNING, **known))
        number = len(study.trials) - 1
        ends.append(report(pruning(pruner, trial=number, name=name), course))
        pruned = ends[-1] is not None
        state = TrialState.PRUNED if pruned else TrialState.COMPLETE
        study.tell(number, None if pruned else course[max(course)], state=state)
    return ends


ATTRIBUTES = ("intermediate_values", "system_attrs", "user_attrs")  # that an attempt has of the one before
HALVING = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}
HYPERBAND = {"name": "hyperband", "min_resource": 1, "max_resource": 8, "reduction_factor": 2}


@pytest.mark.parametrize("pruner", [MEDIAN, HALVING, HYPERBAND], ids=lambda pruner: pruner["name"])
def test_a_failure_changes_no_later_decision(study, pruning, pruner):
    """Hyperband puts a trial into a bracket by its number, and attempts have numbers too."""
    draw = random.Random(0)
    courses = [{step: draw.uniform(1, 2) for step in range(1, 8)} for _ in range(9)]
    undisturbed = search(study._storage, "search", pruning, pruner, courses)
    assert None in undisturbed and len(set(undisturbed)) > 1
    optuna.delete_study(storage=study._storage, study_name="search")  # Hyperband goes by the name as well
    failures = {0: 1, 1: 3, 2: 1, 5: 2, 8: 7}  # after so many reports at most: some are pruned before
    assert search(study._storage, "search", pruning, pruner, courses, failures) == undisturbed


def test_of_several_attempts_the_newest_counts_and_of_several_draws_of_a_run_the_first():
    draws = [(0, "a"), (1, "b"), (2, "a"), (1, "b"), (3, "c")]
    trials = [
        create_trial(value=float(value), user_attrs={DRAW: draw, IDENTITY: identity})
        for value, (draw, identity) in enumerate(draws)
    ]
    assert [trial.value for trial in one_a_draw(trials)] == [0, 3, 2, 4]
    assert [trial.value for trial in one_a_run(trials)] == [0, 3, 4]


def test_a_run_that_is_drawn_again_counts_once(study, pruning):
    """What was drawn three times is not three of five that are better."""
    for identity, loss in (("a", 1.0), ("b", 3.0), ("c", 4.0), ("a", 1.0), ("a", 1.0)):
        drawn = {DRAW: len(study.trials), IDENTITY: identity}
        study.add_trial(create_trial(value=loss, intermediate_values={1: loss}, user_attrs=drawn))
    study.add_trial(create_trial(state=TrialState.RUNNING, user_attrs={DRAW: 9, IDENTITY: "d"}))
    assert report(pruning({"name": "median", "n_startup_trials": 1}, trial=9), {1: 2.5}) is None


def test_of_several_processes_the_first_decides_and_all_hear_it(pruning):
    asked = []

    def broadcast(decided):
        asked.append(decided)
        return True

    trainer = SimpleNamespace(is_global_zero=False, strategy=SimpleNamespace(broadcast=broadcast))
    trainer.state, trainer.global_step, trainer.max_steps = SimpleNamespace(fn=TrainerFn.FITTING), 2, 8
    callback = pruning(journal="on the first one's disk")
    callback.on_fit_start(trainer, None)
    callback.on_validation_end(trainer, None)
    assert asked == [False] and callback.pruned and trainer.should_stop


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"journal": "none"}, r"callbacks\.pruning\.journal=\S+none does not exist; a search's sweep sets it"),
        ({"name": "another"}, r"callbacks\.pruning: \S+studies\.journal has no trial 3 of 'another'"),
        ({"trial": 7}, r"has no trial 7 of \"one row's\""),
        ({"trial": 0}, r"callbacks\.pruning\.trial=0 of \"one row's\" is over: complete"),
        ({"pruner": {"name": "medain"}}, r"callbacks\.pruning\.pruner=.*'medain' is not known; choose from median"),
        ({"pruner": {}}, r"callbacks\.pruning\.pruner=\{\} is not allowed: .*'name'"),
        ({"pruner": 3}, r"callbacks\.pruning\.pruner=3 is not allowed"),
    ],
)
def test_nonsense_is_refused_in_one_line_before_a_step(pruning, validated, fit, tmp_path, knobs, said):
    module = validated(GOOD)
    with pytest.raises(ValueError, match=said) as error:
        fit(module, [pruning(**knobs)], 8, **EVERY_2)
    assert module.seen == [] and "\n" not in str(error.value)
    assert not (tmp_path / "none").exists()


def test_a_run_with_nonsense_is_refused_in_one_line(make_run, tmp_path):
    knobs = f"journal:{tmp_path}/none,study:s,trial:3,pruner:{{name:median}}"
    with pytest.raises(ValueError, match=r"callbacks\.pruning\.journal=\S+none does not exist"):
        make_run(f"++callbacks.pruning={{_target_:hcexp.study.search.pruning.Pruning,{knobs}}}").train()


def test_every_pruner_is_made_and_checks_its_settings():
    for name in ("median", "successive_halving", "hyperband"):
        assert isinstance(make_pruner(name), optuna.pruners.BasePruner)
    assert isinstance(make_pruner("percentile", percentile=25.0), optuna.pruners.PercentilePruner)
    with pytest.raises(ValueError, match=r"^percentile: .*'percentile'"):
        make_pruner("percentile")
    with pytest.raises(ValueError, match="hyperband has no setting 'reduction'. Did you mean reduction_factor"):
        make_pruner("hyperband", reduction=2)
