import random
from contextlib import nullcontext
from types import SimpleNamespace

import optuna
import pytest
from lightning.pytorch.trainer.states import TrainerFn
from optuna.trial import TrialState, create_trial

from hcexp.callbacks import StepCheckpoint
from hcexp.study.search.journal import open_journal
from hcexp.study.search.pruning import DRAW, IDENTITY, PRUNED, Pruning
from tests.study.conftest import Killed, killed_after

MEDIAN = {"name": "median", "n_startup_trials": 2}
HALVING = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}
HYPERBAND = {"name": "hyperband", "min_resource": 1, "max_resource": 8, "reduction_factor": 2}
ATTRIBUTES = ("intermediate_values", "system_attrs", "user_attrs")  # that an attempt has of the one before
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
def train(fit, regression, tmp_path):
    """Trains to step 8, from a checkpoint's step; the validation after every second step has the mean loss `losses`."""

    class Validated(regression):
        headline = "local/mean/loss"

        def on_validation_epoch_end(self):
            self.validation = {self.headline: self.losses[self.trainer.global_step]}

    def call(losses, *callbacks, start=0):
        module = Validated(start=start)
        module.losses = losses
        every_2 = {"limit_val_batches": 1, "val_check_interval": 2, "check_val_every_n_epoch": None}
        checkpoint = tmp_path / "checkpoints" / f"step={start:06}.ckpt" if start else None
        return fit(module, [*callbacks], 8, ckpt=checkpoint, **every_2)

    return call


def reported(study):
    return study.trials[3].intermediate_values


@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_a_good_trial_reports_all_validations_but_the_last_and_a_bad_one_is_stopped(study, pruning, train):
    callback = pruning()
    assert train(GOOD, callback).global_step == 8 and callback.pruned is False
    assert reported(study) == {2: 5.0, 4: 4.0, 6: 3.0}
    assert PRUNED not in study.trials[3].user_attrs
    for trial, losses, stopped in ((4, BAD, 4), (5, {2: float("nan")}, 2)):
        study.add_trial(create_trial(state=TrialState.RUNNING))
        callback = pruning(trial=trial)
        assert train(losses, callback).global_step == stopped and callback.pruned is True
    study.tell(4, state=TrialState.PRUNED)
    pruned = study.trials[4]
    assert (pruned.value, pruned.intermediate_values, pruned.user_attrs[PRUNED]) == (4.9, {2: 5.0, 4: 4.9}, 4)


def test_a_trial_that_goes_on_reports_nothing_twice_and_is_stopped_all_the_same(study, pruning, train):
    def die(trainer, *_):
        if trainer.global_step == 5:
            raise Killed

    callback = pruning()
    callback.on_train_batch_end = die
    with pytest.raises(Killed):
        train(GOOD, callback, StepCheckpoint(1, keep=9))
    assert reported(study) == {2: 5.0, 4: 4.0}
    other = {4: 99.0, 6: 4.8}  # were it reported again, step 4 would be another
    assert train(other, pruning(), start=3).global_step == 6
    assert reported(study) == {2: 5.0, 4: 4.0, 6: 4.8}


def test_a_decision_outlives_a_kill_at_any_moment(study, pruning, train):
    train(BAD, pruning(), StepCheckpoint(1, keep=9))
    # Killed after the checkpoint of the step that decided: that validation is not repeated. Before it: it is, and
    # decides nothing new.
    for start, losses in ((4, {}), (3, GOOD)):
        callback = pruning()
        assert train(losses, callback, start=start).global_step == 4 and callback.pruned is True
    assert reported(study) == {2: 5.0, 4: 4.9}


@pytest.mark.parametrize("writes", range(4))
def test_a_decision_that_is_killed_half_way_is_the_same_the_second_time(study, pruning, train, writes, monkeypatch):
    """Successive halving notes its rungs in the trial, and would take what it has noted for a promotion."""
    for loss in (1.0, 2.0):
        study.add_trial(create_trial(value=loss, system_attrs={"completed_rung_0": loss}))

    def frail(path):
        storage = open_journal(path)
        names = ("set_trial_user_attr", "set_trial_system_attr", "set_trial_intermediate_value")
        killed_after(writes, storage, names, monkeypatch)
        return storage

    with monkeypatch.context() as patch, pytest.raises(Killed) if writes < 3 else nullcontext():
        patch.setattr("hcexp.study.search.pruning.open_journal", frail)
        train({2: 5.0}, pruning(HALVING))
    again = pruning(HALVING)
    assert train({2: 5.0}, again).global_step == 2 and again.pruned
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


def search(storage, name, pruning, pruner, courses, failures):
    """One draw after the other; of some a first attempt fails after so many reports. Where each was pruned."""
    study = optuna.create_study(storage=storage, study_name=name)

    def attempt(course, known):
        study.add_trial(create_trial(state=TrialState.RUNNING, **known))
        number = len(study.trials) - 1
        return number, report(pruning(pruner, trial=number, name=name), course)

    ends = []
    for draw, course in enumerate(courses):
        known = {"user_attrs": {DRAW: draw, IDENTITY: str(draw)}}
        if draw in failures:
            number, _ = attempt(dict(list(course.items())[: failures[draw]]), known)
            study.tell(number, state=TrialState.FAIL)
            known = {each: getattr(study.trials[number], each) for each in ATTRIBUTES}
        number, end = attempt(course, known)
        ends.append(end)
        if end is None:
            study.tell(number, course[max(course)])
        else:
            study.tell(number, state=TrialState.PRUNED)
    return ends


@pytest.mark.parametrize("pruner", [MEDIAN, HALVING, HYPERBAND], ids=lambda pruner: pruner["name"])
def test_a_failure_changes_no_later_decision(study, pruning, pruner):
    """Hyperband puts a trial into a bracket by its number, and attempts have numbers too."""
    draw = random.Random(0)
    courses = [{step: draw.uniform(1, 2) for step in range(1, 8)} for _ in range(9)]
    undisturbed = search(study._storage, "search", pruning, pruner, courses, {})
    assert None in undisturbed and len(set(undisturbed)) > 1
    optuna.delete_study(storage=study._storage, study_name="search")  # Hyperband goes by the name as well
    failures = {0: 1, 1: 3, 2: 1, 5: 2, 8: 7}  # after so many reports at most: some are pruned before
    assert search(study._storage, "search", pruning, pruner, courses, failures) == undisturbed


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
        ({"pruner": 3}, r"callbacks\.pruning\.pruner=3 is not allowed"),
    ],
)
def test_nonsense_is_refused_in_one_line_before_a_step(pruning, regression, fit, tmp_path, knobs, said):
    module = regression()
    with pytest.raises(ValueError, match=said) as error:
        fit(module, [pruning(**knobs)], 8)
    assert module.seen == [] and "\n" not in str(error.value)
    assert not (tmp_path / "none").exists()
