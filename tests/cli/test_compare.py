import json
import shutil

import pytest

from hcexp.run.scores import Evaluation, conditions


@pytest.fixture
def compare(hcexp, runs):
    def call(*arguments):
        status, out, err = hcexp("compare", *arguments, f"paths.runs={runs}")
        assert (status, err) == (0, ""), err
        return out

    return call


def cells(out, name):
    return next(line.split()[1:] for line in out.splitlines() if line.startswith(f"{name} "))


def test_what_differs_is_shown_and_nothing_else(trained, compare, runs):
    one, other, unfinished = trained.pre_norm, trained.dhc, trained.stopped
    out = compare(one.identity, str(runs / other.identity), unfinished.identity)
    assert cells(out, "residual") == ["pre_norm", "dhc", "dhc"] and cells(out, "residual.n") == ["–", "2", "4"]
    assert cells(out, "seed") == ["0", "1", "0"] and "model.d" not in out and "paths" not in out
    assert "_target_" not in out and "made by: no difference" in out
    losses = [run.result()["metrics"]["local/mean/loss"] for run in (one, other)]
    shown = [cell.replace("−", "-") for cell in cells(out, "local/mean/loss")]
    assert [float(cell) for cell in (shown[0], shown[1], shown[3])] == pytest.approx(
        [*losses, losses[1] - losses[0]], abs=5e-5
    )
    assert shown[2] == shown[4] == "–"
    assert "The seeds differ" in out and f"Not finished: {unfinished.identity[:8]} (failed)." in out
    assert "One seed" in compare(one.identity, unfinished.identity)


def test_what_was_evaluated_since_is_among_them(trained, compare, runs):
    for run, accuracy in ((trained.pre_norm, 0.25), (trained.dhc, 0.5)):
        result = run.result()
        own = conditions(result["config"], "downstream")
        for step, score in ((result["steps"], accuracy), (1, 0.9)):  # the later one is of an early checkpoint
            folder = runs / run.identity / "evaluations"
            folder.mkdir(exist_ok=True)
            evaluation = Evaluation("downstream", step, own, {"downstream/mean/accuracy": score})
            (folder / f"downstream-{step}.json").write_text(json.dumps(evaluation._asdict()))
    out = compare(trained.pre_norm.identity, trained.dhc.identity)
    assert cells(out, "downstream/mean/accuracy") == ["0.2500", "0.5000", "+0.2500"]


def test_a_run_that_was_set_aside_is_told_from_the_one_in_its_place(trained, compare, runs):
    aside = runs / "stale" / f"{trained.dhc.identity}-1"
    shutil.copytree(trained.dhc.directory, aside)
    result = json.loads((aside / "result.json").read_text())
    assert "made by: no difference" in compare(trained.dhc.identity, aside)
    result["record"]["code"] = "0" * 64
    (aside / "result.json").write_text(json.dumps({**result, "state": "failed"}))
    out = compare(trained.dhc.identity, aside)
    assert cells(out, "code")[1] == "0" * 12
    assert out.split().count(aside.name) == 3, "a table each of making and metrics, and the note"
    assert f"Not finished: {aside.name} (failed)." in out


def test_what_cannot_be_compared_is_refused_in_one_line(refused, runs):
    assert "two runs at least" in refused("compare", "0123")
    assert "nothing is neither the folder of a run" in refused("compare", "nothing", "at_all", f"paths.runs={runs}")
