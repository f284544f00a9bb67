import json
import shutil

import pytest

from hcexp.run.scores import Evaluation, conditions


@pytest.fixture
def compare(hcexp, tmp_path):
    def call(*arguments):
        return hcexp("compare", *arguments, f"paths.runs={tmp_path}/runs")

    return call


def cells(out, name):
    return next(line.split()[1:] for line in out.splitlines() if line.split()[:1] == [name])


def test_what_differs_is_shown_and_nothing_else(make_run, compare):
    one, other = make_run(), make_run("residual=dhc", "residual.n=2", "optimizer.lr=0.001")
    one.train(), other.train()
    status, out, _ = compare(one.identity, str(other.directory))
    assert status == 0
    assert cells(out, "residual") == ["pre_norm", "dhc"]
    assert cells(out, "residual.n") == ["–", "2"]
    assert cells(out, "optimizer.lr") == ["0.003", "0.001"]
    assert "model.d" not in out and "paths" not in out and "_target_" not in out
    assert "made by: no difference" in out and "One seed" in out


def test_final_metrics_stand_beside_each_other_with_their_difference(make_run, compare):
    runs = [make_run(), make_run("seed=1"), make_run("seed=2")]
    losses = [run.train()["metrics"]["local/mean/loss"] for run in runs]
    _, out, _ = compare(*(run.identity for run in runs))
    expected = [*losses, losses[1] - losses[0], losses[2] - losses[0]]
    shown = [float(cell.replace("−", "-")) for cell in cells(out, "local/mean/loss")]
    assert shown == pytest.approx(expected, abs=5e-5)
    assert "The seeds differ" in out


def test_what_was_evaluated_since_is_among_them(make_run, compare):
    one, other = make_run(), make_run("seed=1")
    for run, accuracy in ((one, 0.25), (other, 0.5)):
        result = run.train()
        own = conditions(result["config"], "downstream")
        for step, score in ((result["steps"], accuracy), (1, 0.9)):  # the later one is of an early checkpoint
            folder = run.directory / "evaluations"
            folder.mkdir(exist_ok=True)
            evaluation = Evaluation("downstream", step, own, {"downstream/mean/accuracy": score})
            (folder / f"downstream-{step}.json").write_text(json.dumps(evaluation._asdict()))
    _, out, _ = compare(one.identity, other.identity)
    assert cells(out, "downstream/mean/accuracy") == ["0.2500", "0.5000", "+0.2500"]


def test_a_run_that_is_not_finished_is_named(make_run, compare, interrupt):
    one, other = make_run(), make_run("seed=1")
    one.train()
    interrupt(1, RuntimeError("power cut"))
    with pytest.raises(RuntimeError):
        other.train()
    _, out, _ = compare(one.identity, other.identity)
    assert f"Not finished: {other.identity[:8]} (failed)." in out


def test_a_run_that_was_set_aside_is_told_from_the_one_in_its_place(make_run, compare, tmp_path):
    run = make_run()
    run.train()
    aside = tmp_path / "runs" / "stale" / f"{run.identity}-1"
    shutil.copytree(run.directory, aside)
    result = json.loads((aside / "result.json").read_text())
    result["record"]["code"] = "0" * 64
    (aside / "result.json").write_text(json.dumps({**result, "state": "failed"}))
    status, out, _ = compare(run.identity, aside)
    assert status == 0 and cells(out, "code")[1] == "0" * 12
    assert out.split().count(aside.name) == 3, "a table each of making and metrics, and the note"
    assert f"Not finished: {aside.name} (failed)." in out


def test_one_run_is_not_enough(compare):
    status, _, err = compare("0123")
    assert status == 2 and "two runs at least" in err


def test_what_is_no_run_is_refused_in_one_line(compare):
    status, _, err = compare("nothing", "at_all")
    assert status == 2 and len(err.strip().splitlines()) == 1 and "nothing" in err
