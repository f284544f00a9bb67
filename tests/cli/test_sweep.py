import os
import signal

import pytest
import yaml


@pytest.fixture
def sweep(hcexp, minute, tmp_path):
    """Runs an own sweep of the rows {label: overrides}, one worker."""

    def call(rows, *options):
        path = tmp_path / "own.yaml"
        entries = [{"label": label, "overrides": list(overrides)} for label, overrides in rows.items()]
        path.write_text(yaml.safe_dump({"title": "A question", "baseline": next(iter(rows)), "rows": entries}))
        return hcexp("sweep", path, "--workers", "1", *minute, *options)

    return call


@pytest.mark.slow
def test_a_sweep_runs_what_is_missing_and_a_failure_stops_no_other(sweep, tmp_path):
    rows = {
        "plain": ["residual=pre_norm"],
        "broken": ["residual=shc", "optimizer.lr=1e30"],
        "DHC×2": ["residual=dhc", "residual.n=2"],
    }
    status, out, err = sweep(rows)
    assert status == 1
    assert "own at scale=tiny: 3 runs, 0 finished before, 1 at a time" in out
    assert "[1/3] plain, seed 0: finished" in out
    assert "[2/3] broken, seed 0: failed" in out
    assert "[3/3] DHC×2, seed 0: finished" in out
    (line,) = [line for line in err.splitlines() if line.startswith("hcexp: failed: ")]
    assert line.startswith("hcexp: failed: broken, seed 0: loss is nan at step 2 (learning rate 1e+30)")
    log = line.partition("(log: ")[2].rstrip(")")
    assert "loss is nan" in open(log).read()
    made = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")}
    assert len(made) == 2

    status, out, err = sweep(rows)  # only the failed one is tried again
    assert status == 1
    assert "3 runs, 2 finished before" in out and "[1/1] broken, seed 0: failed" in out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")} == made

    status, out, err = sweep({label: own for label, own in rows.items() if label != "broken"})
    assert (status, err) == (0, "")
    assert "2 runs, 2 finished before" in out and "[1/" not in out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").glob("*/checkpoints/*")} == made
    assert (tmp_path / "runs" / "reports" / "own-tiny").is_dir()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_sweep_ends_it_in_order(sweep, monkeypatch, signum):
    """The workers are ended where `run_points` is left; afterwards a signal means what it meant before."""
    import hcexp.study

    left = []

    def run_points(points, workers, **_):
        try:
            os.kill(os.getpid(), signum)
        finally:
            left.append(len(points))

    monkeypatch.setattr(hcexp.study, "run_points", run_points)
    before = signal.getsignal(signum)
    status, _, _ = sweep({"plain": ["residual=pre_norm"]})
    assert status == 128 + signum and left == [1]
    assert signal.getsignal(signum) is before
