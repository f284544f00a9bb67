import os
import signal
from multiprocessing import get_context

import pytest

from hcexp.configuration import compose
from hcexp.run.lock import INHERITED
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run
from hcexp.study.point import plan
from hcexp.study.search.search import Search
from hcexp.study.search.space import Space
from hcexp.study.sweep.sweep import Row, Sweep

LR = {"optimizer.lr": {"low": 3e-4, "high": 3e-2, "log": True}}
MEDIAN = {"name": "median", "n_startup_trials": 2}
HALVING = {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2}


def train(claim, killed_at=None):
    """What a worker does, in a process that is killed in the middle of a step; gives its exit status."""

    def work():
        os.environ[INHERITED] = str(claim.lock.fileno())
        genuine = TrainingModule.training_step

        def training_step(self, batch, batch_idx):
            if self.trainer.global_step == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return genuine(self, batch, batch_idx)

        TrainingModule.training_step = training_step
        arguments = claim.point.arguments
        result = Run(compose(arguments), arguments).train()
        os._exit(0 if result["identity"] == claim.point.run.identity else 1)

    process = get_context("fork").Process(target=work)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.slow
@pytest.mark.parametrize("pruner", [MEDIAN, HALVING], ids=lambda pruner: pruner["name"])
def test_trials_that_are_pruned_are_the_same_after_kills(minute, tmp_path, pruner):
    """Real runs, each in a process of its own, that is killed with SIGKILL at some step of every second trial; the
    drivers of some die as well, to those of others it is a failure.
    """
    space = Space(LR, trials=7, startup=4, validations=6, pruner=pruner)
    sweep = Sweep("tune", "A question", None, "DHC", (Row("DHC", ("residual=dhc",)),), search=space)
    common = [each for each in minute if not each.startswith("steps")]

    def search(runs):
        own = ("steps=12", f"paths.runs={tmp_path}/{runs}", "callbacks.checkpoint.every_n_steps=1")
        return Search(sweep, "tiny", plan(sweep, "tiny", [*common, *own]))

    def found(runs, killed_at=lambda draw: None, failures=()):
        driver, seen, results = search(runs), set(), {}
        while claim := driver.claim():
            step = None if claim.point.draw in seen else killed_at(claim.point.draw)
            seen.add(claim.point.draw)
            if (status := train(claim, step)) == 0:
                results[claim.point.run.identity] = result = claim.point.run.result()
                claim.settle(result)
                continue
            assert status == -signal.SIGKILL and claim.point.run.result()["state"] == "missing"
            if claim.point.draw in failures:
                claim.settle({"state": "failed", "error": "no output (exit status -9)", "metrics": {}})
            else:
                claim.lock.close()
                driver = search(runs)
        for trial in driver.found()[0].trials:
            result = results[trial.identity]
            assert (trial.state, trial.loss) == (result["state"], result["metrics"]["local/mean/loss"])
            assert trial.step == (result["steps"] if trial.state == "pruned" else None)
        return driver.found(), [trial.intermediate_values for trial in driver._rows[0]._latest()]

    undisturbed = found("undisturbed")
    assert {trial.state for trial in undisturbed[0][0].trials} == {"finished", "pruned"}
    assert found("killed", {1: 5, 2: 2, 4: 4, 5: 3, 6: 1}.get, failures=(1, 4)) == undisturbed
