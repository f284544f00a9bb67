import csv
from dataclasses import asdict, replace

import pytest

from hcexp.cost.benchmark import COLUMNS, FILE, StepTiming, read_timings
from tests.cost.shared import STEP


@pytest.fixture
def leave(tmp_path):
    """Leaves timings by label in a report's folder, among other columns."""

    def write(rows):
        with open(tmp_path / FILE, "w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, fieldnames=["row", "something else", *COLUMNS.values()])
            out.writeheader()
            for label, row in rows.items():
                out.writerow({"row": label, **{column: asdict(row)[name] for name, column in COLUMNS.items()}})

    return write


def test_what_was_left_is_read(tmp_path, leave):
    assert {*COLUMNS, "over_first"} == set(StepTiming.__annotations__) and len({*COLUMNS.values()}) == len(COLUMNS)
    assert read_timings(tmp_path) == {} == read_timings(tmp_path / "nowhere")
    rows = {"OLMo-1B": STEP, "DHC×4, WC frozen": replace(STEP, step=1.0625, step_high=1 / 3 + 1, device="a, b")}
    leave(rows)
    assert read_timings(tmp_path) == rows


@pytest.mark.parametrize(
    "text",
    ["row,parameters\nOLMo-1B,1000\n", "label\nx\n", "\x00", "row," + ",".join(map(repr, COLUMNS)) + "\nx\n"],
    ids=["not measured", "another table", "no table", "half a line"],
)
def test_another_table_is_refused_in_a_line(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match="cost.csv is no table that hcexp cost --sweep with --measure") as error:
        read_timings(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_that_is_none_is_refused(tmp_path, leave, value):
    leave({"x": replace(STEP, step=value)})
    with pytest.raises(ValueError, match="not positive"):
        read_timings(tmp_path)
