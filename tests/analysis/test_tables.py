import numpy as np
import pytest
import torch

from hcexp.analysis import tables
from tests.analysis.models import LAYERS, L, measured


@pytest.fixture
def found():
    return measured("dhc", "residual.n=2")


def test_every_cell_of_the_matrices_has_a_row_that_says_what_it_joins(found):
    rows = list(tables.weights(found))
    assert len(rows) == (L + 1) ** 2 + 2 * L * (L + 1)
    (cell,) = [row for row in rows if (row.matrix, row.into, row.of) == (0, "attention 3", "feed_forward 2")]
    assert cell.weight == found.connections.C_0[2, 2].item() and (cell.row, cell.column) == (3, 3)
    (cell,) = [row for row in rows if (row.matrix, row.into, row.of) == (2, "feed_forward 6", "embedding")]
    assert cell.weight == found.connections.C[1, 5, 0].item()
    assert {row.into for row in rows if row.row == L + 1} == {"hidden"}


def test_a_widened_embedding_has_a_column_for_each_slice():
    rows = list(tables.weights(measured("altup", "residual.embedding=widened")))
    assert {row.of for row in rows if row.column <= 2} == {"embedding 1", "embedding 2"}
    assert {row.into for row in rows if row.row > L} == {"hidden 1", "hidden 2"}


def test_similarities_are_quantiles_over_tokens(found):
    rows = {(row.between, row.layer): row for row in tables.similarities(found)}
    assert len(rows) == L - 1 + LAYERS - 1
    expected = np.quantile(found.sublayer_similarity[:, 2], [0.05, 0.5, 0.95])
    assert rows["sublayer", 3][2:] == pytest.approx(expected)
    one = found._replace(block_similarity=torch.zeros(3, 0))  # a single block has no neighbour
    assert {row.between for row in tables.similarities(one)} == {"sublayer"}


def test_bins_hold_every_token_once(found):
    rows = [b for b in tables.bins(found) if (b.coefficient, b.sublayer, b.source, b.target) == ("A_r", 2, 1, 2)]
    values = found.A_r[:, 1, 0, 1].numpy()
    counts, edges = np.histogram(values, tables.BINS)
    assert [row.share for row in rows] == pytest.approx(counts / len(values))
    assert [row.left for row in rows] == pytest.approx(edges[:-1]) and rows[-1].right == values.max()


def test_a_coefficient_that_all_tokens_share_is_one_bin():
    rows = list(tables.bins(measured("shc", "residual.n=2")))
    assert len(rows) == L * (2 + 2 + 4)
    assert all(row.left == row.right and row.share == 1 for row in rows)


def test_quantiles_are_of_the_coefficient_that_they_name(found):
    (row,) = [q for q in tables.quantiles(found) if (q.coefficient, q.sublayer, q.target) == ("B", 4, 2)]
    values = found.B[:, 3, 1].numpy()
    assert row.source == 0 and row.mean == pytest.approx(values.mean())
    assert row[5:] == pytest.approx(np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]))
    (row,) = [q for q in tables.quantiles(found) if (q.coefficient, q.sublayer, q.source) == ("A_m", 1, 1)]
    assert row.target == 0 and row.median == pytest.approx(np.median(found.A_m[:, 0, 0]))


def test_gains_streams_and_ranks_count_sublayers_from_1(found):
    gains = {(row.of, row.sublayer): row for row in tables.gain_rows(found)}
    assert len(gains) == 3 * L
    assert gains["product", L][2:] == tuple(found.composite_gains[:, -1].tolist())
    assert gains["mean product", 2].forward == found.averaged_gains[0, 1].item()
    assert gains["sublayer", 3].backward == found.sublayer_gains[1, 2].item()
    uses = {(row.sublayer, row.stream): row for row in tables.stream_uses(found)}
    assert uses[2, 1][2:] == (found.reads[1, 0].item(), found.writes[1, 0].item())
    assert [row.sublayer for row in tables.ranks(found)] == list(range(1, L + 2))
