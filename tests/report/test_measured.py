import pytest

from hcexp.report.measured import COLUMNS, FILE, Measured, read_measured


def test_every_field_has_a_column():
    assert set(COLUMNS) == set(Measured.__annotations__) and len(set(COLUMNS.values())) == len(COLUMNS)


def test_what_was_left_is_read(tmp_path, leave, measured):
    rows = {"OLMo-1B": measured(), "DHC×4, WC frozen": measured(step=1.0625, step_high=1 / 3 + 1, peak=1.1)}
    leave(tmp_path, rows)
    assert read_measured(tmp_path) == rows


def test_without_the_file_nothing_was_measured(tmp_path):
    assert read_measured(tmp_path) == {} == read_measured(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "text",
    ["row,parameters\nOLMo-1B,1000\n", "label\nx\n", "\x00", "row," + ",".join(map(repr, COLUMNS)) + "\nx\n"],
    ids=["not measured", "another table", "no table", "half a line"],
)
def test_another_table_is_refused_in_a_line(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match="cost.csv is no table that hcexp cost --sweep with measure=true") as error:
        read_measured(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_ratio_that_is_none_is_refused(tmp_path, leave, measured, value):
    leave(tmp_path, {"x": measured(step=value)})
    with pytest.raises(ValueError, match="not positive"):
        read_measured(tmp_path)
