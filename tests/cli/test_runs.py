import json

import pytest
from filelock import FileLock

from hcexp.run.folder import find_run, made_in, names, origins, run_folders


@pytest.fixture
def trained(make_run):
    """A pre-norm run and a dhc run, finished."""
    runs = [make_run(), make_run("residual=dhc", "residual.n=2", "residual.tanh=false", "seed=1")]
    for run in runs:
        run.train()
    return runs


@pytest.fixture
def runs(hcexp, tmp_path):
    def call(*arguments):
        return hcexp("runs", f"paths.runs={tmp_path}/runs", *arguments)

    return call


def lines(out):
    return [line.split() for line in out.splitlines() if line.strip() and "─" not in line][1:]


def test_every_run_is_listed_with_mode_state_and_measures(trained, runs):
    status, out, _ = runs()
    first, second = lines(out)
    assert status == 0
    assert first[:6] == [trained[0].identity, "pre_norm", "tiny", "0", "finished", "6"]
    assert second[:8] == [trained[1].identity, "dhc", "n=2", "tanh=false", "tiny", "1", "finished", "6"]
    assert second[8] == f"{trained[1].result()['metrics']['local/mean/loss']:.3f}"


@pytest.mark.parametrize(
    "wanted, found",
    [
        (["residual=dhc"], [1]),
        (["residual=pre_norm,dhc"], [0, 1]),
        (["residual.n=2"], [1]),
        (["seed=range(1,3)"], [1]),
        (["seed=0", "scale=tiny"], [0]),
        (["residual=dhc", "seed=0"], []),
        (["residual=glob(*)"], [0, 1]),
        (["residual=glob(*,exclude=pre*)"], [1]),
        (["seed=glob('0*')", "scale=glob(t*)"], [0]),
        (["residual=glob(*hc)", "residual.n=glob(*)"], [1]),
    ],
    ids=str,
)
def test_overrides_choose_among_the_runs(trained, runs, wanted, found):
    _, out, _ = runs(*wanted)
    assert [line[0] for line in lines(out)] == [trained[index].identity for index in found]
    assert found or "no run with these values" in out


@pytest.mark.parametrize(
    ("wanted", "line"),
    [
        ("residul=dhc", "residul is not a knob of any run in {}/runs, did you mean residual"),
        ("optimizer.l=1", "optimizer.l is not a knob of any run in {}/runs, did you mean optimizer.lr"),
        (
            "seed=interval(0,3)",
            "seed=interval(0,3): give one value, several as 0,1, a range as range(0,3), or a pattern as glob(*)",
        ),
        ("residul=glob(*)", "residul is not a knob of any run in {}/runs, did you mean residual"),
    ],
)
def test_what_no_run_can_have_is_told_in_one_line(trained, runs, tmp_path, wanted, line):
    status, _, error = runs(wanted)
    assert status == 2 and error.splitlines()[-1].startswith(f"hcexp: error: {line.format(tmp_path)}")


def test_runs_are_sorted_by_loss(trained, runs):
    _, out, _ = runs("--sort", "loss")
    losses = {run.identity: run.result()["metrics"]["local/mean/loss"] for run in trained}
    assert [line[0] for line in lines(out)] == sorted(losses, key=losses.get)


def test_a_run_is_running_while_its_lock_is_held_and_stopped_afterwards(make_run, tracked, interrupt, tmp_path):
    run = make_run(*tracked, "callbacks.checkpoint.every_n_steps=2")
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    (failed,) = run_folders(tmp_path / "runs")
    assert failed.state == "failed"
    (run.directory / "result.json").unlink()  # as after kill -9
    (stopped,) = run_folders(tmp_path / "runs")
    assert (stopped.state, stopped.step) == ("stopped", 3)
    assert stopped.loss[0] == "train" and stopped.loss[1] > 0
    with FileLock(run.directory / ".lock"):
        (running,) = run_folders(tmp_path / "runs")
        assert running.state == "running"


def test_a_run_that_was_set_aside_keeps_its_curves(make_run, tracked, hcexp, tmp_path):
    run = make_run(*tracked)
    run.train()
    losses = {name: value for name, value in run.result()["metrics"].items() if name != "local/mean/loss"}
    result = json.dumps({**run.result(), "metrics": losses})
    (run.directory / "result.json").write_text(result)  # what is left are the curves
    before = next(run_folders(tmp_path / "runs")).loss
    aside = tmp_path / "runs" / "stale" / f"{run.identity}-1"
    aside.parent.mkdir()
    run.directory.rename(aside)
    (after,) = run_folders(tmp_path / "runs" / "stale")
    assert after.loss == before and before[0] == "train"
    assert not (aside.parent / "mlflow.db").exists()
    status, out, _ = hcexp("runs", f"paths.runs={aside.parent}")
    assert status == 0 and lines(out)[0][0] == aside.name


def test_a_run_was_made_where_it_lies_unless_it_was_set_aside(tmp_path):
    runs = tmp_path / "runs"
    assert made_in(runs / "0123") == runs and made_in(runs / "stale" / "0123-12") == runs
    assert made_in(tmp_path / "stale" / "0123") == tmp_path / "stale", "a folder of runs may have this name"


def test_runs_of_one_name_are_called_by_the_way_to_them(tmp_path):
    one, other, aside = (tmp_path / "a" / way / "0123" for way in ("runs", "more", "runs/stale"))
    assert names([one, other.with_name("4567"), one]) == ["0123", "4567", "0123"]
    assert names([one, other]) == ["runs/0123", "more/0123"] and names([one, aside]) == ["0123", "stale/0123"]
    assert origins([one, other]) == ["runs", "more"] and origins([one, aside]) == ["runs", "runs/stale"]
    assert len(set(origins([one, one.with_name("4567")]))) == 1


def test_a_failed_run_says_why(make_run, interrupt, runs):
    run = make_run()
    interrupt(1, RuntimeError("power cut"))
    with pytest.raises(RuntimeError):
        run.train()
    _, out, _ = runs()
    assert "failed" in out and f"{run.identity}: power cut" in out


def test_no_runs_are_no_error(runs):
    status, out, _ = runs()
    assert status == 0 and "no run in" in out


def test_a_run_is_named_by_its_folder_or_by_how_its_name_begins(trained, tmp_path):
    folder = trained[0].directory
    assert find_run(str(folder), tmp_path).path == folder
    assert find_run(folder.name[:8], tmp_path / "runs").path == folder
    with pytest.raises(ValueError, match="write more of it"):
        find_run("", tmp_path / "runs")
    with pytest.raises(FileNotFoundError, match="neither the folder of a run"):
        find_run("nothing", tmp_path / "runs")


@pytest.mark.parametrize("text", ["", "a: [1\n", "a word"])
def test_a_damaged_configuration_is_told_in_one_line(runs, tmp_path, text):
    path = tmp_path / "runs" / "0123" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    status, _, error = runs()
    assert status == 2
    assert error.splitlines()[-1] == f"hcexp: error: {path} is damaged: restore it, or delete the folder"
    assert "Traceback" not in error
