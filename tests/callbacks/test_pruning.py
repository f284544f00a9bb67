from contextlib import nullcontext
from types import SimpleNamespace

import optuna
import pytest
from lightning.pytorch.trainer.states import TrainerFn
from optuna.trial import TrialState, create_trial

from hcexp.callbacks import Pruning, StepCheckpoint
from hcexp.callbacks.pruning import PRUNED, make_pruner
from hcexp.tracking.journal import open_journal

MEDIAN = {"name": "median", "n_startup_trials": 2}
GOOD = {2: 5.0, 4: 4.0, 6: 3.0, 8: 2.0}
BAD = {2: 5.0, 4: 4.9, 6: 4.8, 8: 4.7}  # behind the median from step 4 on


class Killed(Exception):
    pass


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

    def make(pruner=MEDIAN, trial=3, name="one row's", journal="studies.journal", open=open_journal):
        return Pruning(journal=tmp_path / journal, open=open, study=name, trial=trial, pruner=pruner)

    return make


@pytest.fixture
def validated(regression):
    """A module that validates every 2 steps; `losses` gives the mean loss at a step."""

    class Validated(regression):
        suite = SimpleNamespace(name="local")

        def __init__(self, losses, **knobs):
            super().__init__(**knobs)
            self.losses = losses

        def on_validation_epoch_end(self):
            self.validation = {"local/mean/loss": self.losses[self.trainer.global_step]}

    return Validated


EVERY_2 = {"limit_val_batches": 1, "val_check_interval": 2, "check_val_every_n_epoch": None}


def reported(study):
    return study.trials[3].intermediate_values


def test_a_good_trial_reports_all_validations_but_the_last_and_ends(study, pruning, validated, fit):
    callback = pruning()
    trainer = fit(validated(GOOD), [callback], 8, **EVERY_2)
    assert trainer.global_step == 8 and callback.pruned is False
    assert reported(study) == {2: 5.0, 4: 4.0, 6: 3.0}
    assert PRUNED not in study.trials[3].user_attrs


def test_a_bad_trial_is_stopped_where_it_falls_behind(study, pruning, validated, fit):
    callback = pruning()
    trainer = fit(validated(BAD), [callback], 8, **EVERY_2)
    assert trainer.global_step == 4 and callback.pruned is True
    assert reported(study) == {2: 5.0, 4: 4.9}
    assert study.trials[3].user_attrs[PRUNED] == 4
    study.tell(3, state=TrialState.PRUNED)
    assert study.trials[3].value == 4.9


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
def test_a_decision_that_is_killed_half_way_is_the_same_the_second_time(study, pruning, validated, fit, writes):
    """Successive halving notes its rungs in the trial, and would take what it has noted for a promotion."""
    halving = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}
    for loss in (1.0, 2.0):
        study.add_trial(create_trial(value=loss, system_attrs={"completed_rung_0": loss}))

    left = iter(range(writes))

    def killed_at(write):
        def call(*arguments):
            if next(left, None) is None:
                raise Killed
            write(*arguments)

        return call

    def frail(path):
        storage = open_journal(path)
        for name in ("set_trial_user_attr", "set_trial_system_attr", "set_trial_intermediate_value"):
            setattr(storage, name, killed_at(getattr(storage, name)))
        return storage

    with pytest.raises(Killed) if writes < 3 else nullcontext():
        fit(validated({2: 5.0}), [pruning(halving, open=frail)], 8, **EVERY_2)
    again = pruning(halving)
    trainer = fit(validated({2: 5.0}), [again], 8, **EVERY_2)
    assert trainer.global_step == 2 and again.pruned
    assert reported(study) == {2: 5.0} and study.trials[3].system_attrs == {"completed_rung_0": 5.0}


def test_of_several_processes_the_first_decides_and_all_hear_it(pruning):
    asked = []

    def broadcast(decided):
        asked.append(decided)
        return True

    strategy = SimpleNamespace(broadcast=broadcast)
    state = SimpleNamespace(fn=TrainerFn.FITTING)
    trainer = SimpleNamespace(
        is_global_zero=False, strategy=strategy, state=state, global_step=2, max_steps=8, should_stop=False
    )
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
    opener = "{_target_:hcexp.tracking.journal.open_journal,_partial_:true}"
    knobs = f"journal:{tmp_path}/none,open:{opener},study:s,trial:3,pruner:{{name:median}}"
    with pytest.raises(ValueError, match=r"callbacks\.pruning\.journal=\S+none does not exist"):
        make_run(f"++callbacks.pruning={{_target_:hcexp.callbacks.Pruning,{knobs}}}").train()


def test_every_pruner_is_made_and_checks_its_settings():
    for name in ("median", "successive_halving", "hyperband"):
        assert isinstance(make_pruner(name), optuna.pruners.BasePruner)
    assert isinstance(make_pruner("percentile", percentile=25.0), optuna.pruners.PercentilePruner)
    with pytest.raises(ValueError, match=r"^percentile: .*'percentile'"):
        make_pruner("percentile")
    with pytest.raises(ValueError, match="hyperband has no setting 'reduction'. Did you mean reduction_factor"):
        make_pruner("hyperband", reduction=2)
