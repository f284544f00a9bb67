import errno
import json
import math
import os

import pandas
import pytest

from hcexp.tracking.metrics import MetricsFile, lines, read, tail


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.jsonl"


def write(path, points, flush=True):
    file = MetricsFile(path)
    for step, value in points:
        file.append({"a": value}, step)
    if flush:
        file.flush()
    return file


@pytest.fixture
def written(path):
    """A file with `a` at the steps 1 to 5."""
    write(path, [(step, step / 7) for step in range(1, 6)])
    return path.read_bytes()


def test_what_is_logged_is_read_again_by_us_and_by_others(path):
    file = MetricsFile(path)
    metrics = {"train/loss": 1 / 3, "größe": 7, "nan": math.nan, "up": math.inf, "down": -math.inf}
    file.append(metrics, 10)
    file.append({"train/loss": 0.25}, 20)
    assert not path.exists(), "nothing is written before the flush"
    file.flush()
    file.flush()
    found = read(path)
    assert found["train/loss"] == [(10, 1 / 3), (20, 0.25)] and found["größe"] == [(10, 7.0)]
    assert math.isnan(found["nan"][0][1]) and (found["up"], found["down"]) == ([(10, math.inf)], [(10, -math.inf)])
    strict = [json.loads(line, parse_constant=lambda word: pytest.fail(word)) for line in path.open()]
    assert strict[0]["metrics"]["down"] == "-Infinity" and set(strict[1]) == {"step", "time", "metrics"}
    frame = pandas.read_json(path, lines=True)
    assert list(frame.step) == [10, 20] and math.isinf(float(frame.metrics[0]["up"]))
    assert 1.6e12 < strict[0]["time"] <= strict[1]["time"]


def test_curves_are_in_step_order_and_of_two_values_the_later_counts(path):
    write(path, ((3, 7.0), (1, 9.0), (2, 8.0), (3, 50.0), (2, 1.0)))
    assert read(path) == {"a": [(1, 9.0), (2, 1.0), (3, 50.0)]}
    assert read(path.with_name("none.jsonl")) == {} and tail(path.with_name("none.jsonl")) == []


def test_a_run_that_goes_on_has_no_later_points_and_a_cut_is_whole_or_not_at_all(path, written, monkeypatch):
    whole = written.splitlines(keepends=True)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="metrics.jsonl was not written"):
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        MetricsFile(path).cut(2)
    assert path.read_bytes() == written
    for step in (5, 3, 0):
        MetricsFile(path).cut(step)
        assert path.read_bytes() == b"".join(whole[:step])


def test_half_a_line_of_a_killed_process_is_taken_back(path, written):
    last = written.splitlines(keepends=True)[-1]
    for kept in (0, 1, 20, len(last) - 1):
        path.write_bytes(written + last[:kept])
        assert len(read(path)["a"]) == len(tail(path)) == 5
        MetricsFile(path).cut(5)
        assert path.read_bytes() == written
    write(path, [(6, 6.0)])
    assert read(path)["a"][-2:] == [(5, 5 / 7), (6, 6.0)]


def test_a_full_disk_is_one_line_and_leaves_whole_lines(path, written, monkeypatch):
    def full(descriptor):
        os.truncate(path, os.stat(path).st_size - 5)  # as much as there was room for
        raise OSError(errno.ENOSPC, "No space left on device")

    file = write(path, [(6, 6.0)], flush=False)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=f"{path} cannot be written .*: make room") as error:
            file.flush()
    assert error.value.errno == errno.ENOSPC and "\n" not in str(error.value)
    assert path.read_bytes() == written
    file.flush()
    assert read(path)["a"][-1] == (6, 6.0)


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"step": 1}', '{"step": 1, "time": 1, "metrics": [1]}', "[" * 99999])
def test_a_damaged_file_is_named_in_one_line_and_its_end_can_be_read(path, written, line):
    path.write_bytes(written[:-1] + b"\n" + line.encode() + b"\n" + written)
    with pytest.raises(ValueError, match=f"{path} is damaged: delete its line ") as error:
        read(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert [one.step for one in tail(path)][-5:] == [1, 2, 3, 4, 5]


def test_of_a_long_file_the_tail_is_its_last_lines(path):
    write(path, [(step, 1 / 3) for step in range(3000)])
    steps = [line.step for line in tail(path)]
    assert steps == list(range(steps[0], 3000)) and 100 < len(steps) < 1500
    ends = [end for end, _ in lines(path)]
    assert [line.step for _, line in lines(path, ends[2997])] == [2998, 2999] and ends[-1] == path.stat().st_size
