import json
import math

import numpy as np
import pandas as pd
import pytest

from hcexp.analysis import read_connections
from hcexp.analysis.folder import (
    Manifest,
    read_manifest,
    read_numbers,
    write_manifest,
    write_numbers,
    write_table,
)
from hcexp.analysis.tables import frame, numbers
from tests.analysis.models import measured

MANIFEST = Manifest("0123", 7, 100, "ab" * 32, "local", ["a", "b"], None, 2048, tracked=True)


@pytest.fixture(scope="module")
def found():
    return numbers(measured("dhc", "residual.n=2"))


def test_numbers_come_back_to_the_last_digit_with_what_they_are_of(found, tmp_path):
    ranks = frame("ranks", [(1, 1 / 3), (2, -1e-300), (3, math.inf), (4, math.nan)])
    curves = frame("curves", [("train/loss", 10, 640, 5.5)])
    given = found._replace(ranks=ranks, curves=curves, similarity=frame("similarity"))
    (tmp_path / "similarity.csv").write_text("of an earlier analysis")
    names = {path.stem for path in write_numbers(tmp_path, given)}
    write_manifest(tmp_path, MANIFEST)
    assert names == set(given._fields) - {"similarity", "gradients"} == {path.stem for path in tmp_path.glob("*.csv")}
    for name, table in read_numbers(tmp_path)._asdict().items():
        pd.testing.assert_frame_equal(table, getattr(given, name).reset_index(drop=True), check_exact=True)
    assert read_manifest(tmp_path) == MANIFEST and read_manifest(tmp_path).tracked
    C_0, C, kinds = read_connections(tmp_path)
    survey = measured("dhc", "residual.n=2")
    np.testing.assert_array_equal(C_0, survey.connections.C_0)
    np.testing.assert_array_equal(C, survey.connections.C)
    assert kinds == survey.kinds


def test_what_was_not_written_to_its_end_or_by_another_version_does_not_count(found, tmp_path):
    assert read_connections(tmp_path) is None and read_manifest(tmp_path) is None
    write_manifest(tmp_path, MANIFEST)
    assert read_connections(tmp_path) is None
    write_numbers(tmp_path, found)
    assert read_manifest(tmp_path) is None and read_connections(tmp_path) is None
    path = write_manifest(tmp_path, MANIFEST)
    whole = json.loads(path.read_text())
    for other in ({"another": "version"}, {**whole, "version": 1}, {k: v for k, v in whole.items() if k != "version"}):
        path.write_text(json.dumps(other))
        assert read_manifest(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "sublayer,effective_rank\n1,x\n", "sublayer,effective_rank\n1,2,3,4\n", "\x00\xff"]
)
def test_another_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "ranks.csv"
    path.write_text(content)
    with pytest.raises(ValueError, match="is no table that hcexp analyse wrote") as refused:
        read_numbers(tmp_path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_missing_cells_are_refused_in_one_line_and_empty_cells_are_what_is_not_known(found, tmp_path):
    write_numbers(tmp_path, found)
    write_manifest(tmp_path, MANIFEST)
    path = tmp_path / "connections.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-3]))
    with pytest.raises(ValueError, match="has not all cells of its matrices"):
        read_connections(tmp_path)
    write_table(tmp_path / "ratios.csv", pd.DataFrame([("a", 0, None, None), ("a", 1, 1.5, None)]))
    assert (tmp_path / "ratios.csv").read_text().splitlines()[1:] == ["a,0,,", "a,1,1.5,"]
