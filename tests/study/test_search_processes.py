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
PRUNERS = [
    {"name": "median", "n_startup_trials": 2},
    {"name": "successive_halving", "min_resource": 2, "reduction_factor": 2},
]


@pytest.mark.slow
@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda pruner: pruner["name"])
def test_trials_that_are_pruned_are_the_same_after_kills(minute, tmp_path, pruner):
    """Real runs, each in a process of its own, that is killed with SIGKILL at some step of every second trial; the
    drivers of some die as well, to those of others it is a failure.
    """
    minute = [each for each in minute if not each.startswith("steps")]
    space = Space(LR, trials=7, startup=4, validations=6, pruner=pruner)
    sweep = Sweep("tune", "A question", None, "DHC", (Row("DHC", ("residual=dhc",)),), search=space)

    def search(runs):
        common = [*minute, "steps=12", f"paths.runs={tmp_path}/{runs}", "callbacks.checkpoint.every_n_steps=1"]
        return Search(sweep, "tiny", plan(sweep, "tiny", common))

    def found(runs, killed_at=lambda draw: None, failures=()):
        search_, seen = search(runs), set()
        while claim := search_.claim():
            step = None if claim.point.draw in seen else killed_at(claim.point.draw)
            seen.add(claim.point.draw)
            process = get_context("fork").Process(target=_train, args=(claim, step))
            process.start()
            process.join()
            if process.exitcode == 0:
                claim.settle(claim.point.run.result())
            else:
                assert process.exitcode == -signal.SIGKILL and claim.point.run.result()["state"] == "missing"
                if claim.point.draw in failures:
                    claim.settle({"state": "failed", "error": "no output (exit status -9)", "metrics": {}})
                    continue
                claim.lock.close()
                search_ = search(runs)
        return search_.found(), [trial.intermediate_values for trial in search_._rows[0]._latest()]

    undisturbed = found("undisturbed")
    assert {trial.state for trial in undisturbed[0][0].trials} == {"finished", "pruned"}
    assert found("killed", {1: 5, 2: 2, 4: 4, 5: 3, 6: 1}.get, failures=(1, 4)) == undisturbed


@pytest.mark.slow
def test_a_run_that_was_pruned_is_left_as_it_is_when_it_is_drawn_again(minute, tmp_path):
    minute = [each for each in minute if not each.startswith("steps")]
    pruner = {"name": "median", "n_startup_trials": 1}
    space = Space({"residual.n": {"choices": [2, 4]}}, trials=9, validations=3, pruner=pruner)
    sweep = Sweep("tune", "A question", None, "DHC", (Row("DHC", ("residual=dhc",)),), search=space)
    search = Search(sweep, "tiny", plan(sweep, "tiny", [*minute, "steps=30"]))
    ended = []
    while claim := search.claim():
        process = get_context("fork").Process(target=_train, args=(claim, None))
        process.start()
        process.join()
        ended.append(claim.point.run)
        claim.settle(claim.point.run.result())
    assert len(ended) == len({run.identity for run in ended}) == 2 and search.done()
    assert {trial.state for trial in search.found()[0].trials} == {"finished", "pruned"}
    for trial in search.found()[0].trials:
        (run,) = (run for run in ended if run.identity == trial.identity)
        result = run.result()
        assert (trial.state, trial.loss) == (result["state"], result["metrics"]["local/mean/loss"])
        assert trial.step == (result["steps"] if trial.state == "pruned" else None)


def _train(claim, killed_at):
    """What a worker does; the process is killed in the middle of a step."""
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
