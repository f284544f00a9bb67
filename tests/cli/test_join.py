"""A sweep is joined by its name, or by the folder of its runs."""

import pytest
import yaml

from hcexp.study.drivers import announced


@pytest.fixture
def begun(hcexp, minute, tmp_path, monkeypatch):
    """Runs a sweep of two seeds, of which `at_it` is called with the points of every driver, while it is at work."""
    path = tmp_path / "own.yaml"
    rows = [{"label": "plain", "overrides": ["residual=shc"]}]
    path.write_text(yaml.safe_dump({"title": "A question", "baseline": "plain", "rows": rows}))

    def begin(at_it):
        drivers = []

        def run_points(queue, workers, **_):
            drivers.append(sorted(identity for identity, _ in queue.known()))
            if len(drivers) == 1:
                at_it(drivers)

        monkeypatch.setattr("hcexp.study.drive.run_points", run_points)
        status, _, err = hcexp("sweep", path, "--seeds", "3,5", "--workers", "1", *minute)
        assert status == 0, err

    return begin


def test_the_folder_of_the_runs_stands_for_the_sweep_at_work_there(begun, hcexp, refused, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()

    def join(drivers):
        for store in (tmp_path / "runs", tmp_path / "runs" / "studies.journal"):
            monkeypatch.chdir(tmp_path / "elsewhere")
            status, out, _ = hcexp("sweep", "--join", store, "--workers", "2")
            assert status == 0 and "own at scale=tiny: 2 runs" in out and "2 at a time" in out
        assert drivers[0] == drivers[1] == drivers[2] and len(drivers[0]) == 2
        with announced(tmp_path / "runs", ["table2", "--seeds", "0,"]):
            line = refused("sweep", "--join", tmp_path / "runs")
        assert "2 sweeps are at work there, name one of them: hcexp sweep --join " in line
        assert "hcexp sweep --join table2 --seeds 0," in line

    begun(join)


def test_a_store_where_nobody_is_at_work_is_refused_and_so_are_knobs(refused, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "studies.journal").touch()
    assert refused("sweep", "--join", runs).startswith(f"--join {runs}: no sweep is at work there")
    for more in (["--scale", "1b"], ["--seeds=3"], ["residual.n=4"]):
        line = refused("sweep", "--join", runs, *more)
        assert line.startswith(f"--join {runs} takes the sweep that is at work there as it is: leave {more[0]} out")
