import json

import numpy as np
import pytest

from hcexp.analysis import read_connections, tables
from hcexp.analysis.rows import Rank
from hcexp.analysis.written import About, Numbers, read_about, read_numbers, write_about, write_numbers
from hcexp.run.history import Point
from tests.analysis.models import measured

ABOUT = About("0123", 7, 100, "ab" * 32, "local", ["a", "b"], None, 2048, tracked=True)
NONE = Numbers(*([] for _ in Numbers._fields))


def matrices(found):
    return NONE._replace(connections=list(tables.weights(found)))


@pytest.mark.parametrize("of", [("dhc", "residual.n=2"), ("altup", "residual.embedding=widened")])
def test_the_matrices_come_back(of, tmp_path):
    """Several slices of the embedding and of the end, too."""
    found = measured(*of)
    write_numbers(tmp_path / "analysis", matrices(found))
    write_about(tmp_path / "analysis", ABOUT)
    C_0, C, kinds = read_connections(tmp_path / "analysis")
    np.testing.assert_array_equal(C_0, found.connections.C_0)
    np.testing.assert_array_equal(C, found.connections.C)
    assert kinds == found.kinds


def test_numbers_and_what_they_are_of_come_back(tmp_path):
    numbers = NONE._replace(ranks=[Rank(1, 1 / 3)], curves=[Point("train/loss", 10, 640, 5.5)])
    names = {path.name for path in write_numbers(tmp_path, numbers)}
    write_about(tmp_path, ABOUT)
    assert names == {"ranks.csv", "curves.csv"} and read_numbers(tmp_path) == numbers
    assert read_about(tmp_path) == ABOUT and read_about(tmp_path).tracked


def test_what_was_not_written_to_its_end_does_not_count(tmp_path):
    assert read_connections(tmp_path) is None and read_about(tmp_path) is None
    write_about(tmp_path, ABOUT)
    assert read_connections(tmp_path) is None
    write_numbers(tmp_path, matrices(measured("dhc", "residual.n=2")))
    assert read_about(tmp_path) is None and read_connections(tmp_path) is None
    (tmp_path / "analysis.json").write_text(json.dumps({"another": "version"}))
    assert read_about(tmp_path) is None


def test_a_damaged_table_is_refused_in_one_line(tmp_path):
    write_numbers(tmp_path, matrices(measured("dhc", "residual.n=2")))
    write_about(tmp_path, ABOUT)
    path = tmp_path / "connections.csv"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:-3]))
    with pytest.raises(ValueError, match="has not all cells of its matrices"):
        read_connections(tmp_path)
    path.write_text(whole.replace("matrix", "something"))
    with pytest.raises(ValueError, match="is no table that hcexp analyse wrote"):
        read_connections(tmp_path)
