import math

import pytest

from hcexp.analysis.rows import Rank, Ratio, Weight, read_rows, write_rows


def test_rows_come_back_to_the_last_digit(tmp_path):
    """What was not reached is an empty cell."""
    rows = [Weight(0, 1, 2, "attention 1", 'a, "b"', 1 / 3), Weight(1, 2, 1, "", "é", -1e-300)]
    rows.append(Weight(2, 0, 0, "", "", math.inf))
    path = write_rows(tmp_path / "weights.csv", rows)
    assert read_rows(path, Weight) == rows
    assert path.read_text().splitlines()[0] == "matrix,row,column,into,of,weight"
    rows = [Ratio("a", "b", "train/loss_ema99", 0, None), Ratio("a", "b", "train/loss_ema99", 1, 1.5)]
    path = write_rows(tmp_path / "ratios.csv", rows)
    assert path.read_text().splitlines()[1] == "a,b,train/loss_ema99,0,,"
    assert read_rows(path, Ratio) == rows


def test_no_rows_are_no_file(tmp_path):
    path = tmp_path / "ranks.csv"
    write_rows(path, [Rank(1, 2.0)])
    assert write_rows(path, []) is None and not path.exists()
    assert read_rows(path, Rank) == []


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "sublayer,effective_rank\n1,x\n", "sublayer,effective_rank\n1\n"]
)
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "ranks.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="is no table that hcexp analyse wrote") as refused:
        read_rows(path, Rank)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
