"""A sweep is joined by its name, or by the folder of its runs."""

import pytest
import yaml


@pytest.fixture
def begun(hcexp, minute, tmp_path, monkeypatch):
    """Runs a sweep of two seeds, of which `at_it` is called with the points of every driver, while it is at work."""
    path = tmp_path / "own.yaml"
    path.write_text(
        yaml.safe_dump(
            {"title": "A question", "baseline": "plain", "rows": [{"label": "plain", "overrides": ["residual=shc"]}]}
        )
    )

    def begin(at_it):
        drivers = []

        def run_points(source, workers, **_):
            drivers.append(sorted(identity for identity, _ in source.known()))
            at_it(drivers)

        monkeypatch.setattr("hcexp.study.run_points", run_points)
        return hcexp("sweep", path, "--seeds", "3,5", "--workers", "1", *minute)

    return begin


@pytest.mark.parametrize("store", ["runs", "runs/studies.journal"])
def test_the_folder_of_the_runs_stands_for_the_sweep_at_work_there(begun, hcexp, tmp_path, monkeypatch, store):
    (tmp_path / "elsewhere").mkdir()

    def join(drivers):
        if len(drivers) == 1:
            monkeypatch.chdir(tmp_path / "elsewhere")
            status, out, _ = hcexp("sweep", "--join", tmp_path / store, "--workers", "2")
            assert status == 0 and "own at scale=tiny: 2 runs" in out and "2 at a time" in out

    status, _, err = begun(join)
    assert status == 0, err


def test_who_joins_has_the_same_points(begun, hcexp, tmp_path):
    seen = []

    def join(drivers):
        seen[:] = drivers
        if len(drivers) == 1:
            assert hcexp("sweep", "--join", tmp_path / "runs")[0] == 0

    begun(join)
    first, second = seen
    assert first == second and len(first) == 2


def test_a_store_where_nobody_is_at_work_is_refused_and_so_are_knobs(begun, refused, minute, tmp_path):
    begun(lambda drivers: None)
    runs = tmp_path / "runs"
    assert refused("sweep", "--join", runs).startswith(f"--join {runs}: no sweep is at work there")
    for more in (["--scale", "1b"], ["--seeds=3"], ["residual.n=4"]):
        line = refused("sweep", "--join", runs, *more)
        assert line.startswith(f"--join {runs} takes the sweep that is at work there as it is: leave {more[0]} out")


def test_of_several_sweeps_one_has_to_be_named(begun, refused, tmp_path):
    from hcexp.study.drivers import announced

    def join(drivers):
        with announced(tmp_path / "runs", ["table2", "--seeds", "0,"]):
            line = refused("sweep", "--join", tmp_path / "runs")
        assert "2 sweeps are at work there, name one of them: hcexp sweep --join " in line
        assert "hcexp sweep --join table2 --seeds 0," in line

    begun(join)
