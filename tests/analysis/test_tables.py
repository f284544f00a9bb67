import numpy as np
import pytest
import torch

from hcexp.analysis.tables import BINS, COLUMNS, connections, numbers
from tests.analysis.models import LAYERS, L, measured


@pytest.fixture(scope="module")
def found():
    return measured("dhc", "residual.n=2")


@pytest.fixture(scope="module")
def made(found):
    return numbers(found)


def where(table, **values):
    for name, value in values.items():
        table = table[table[name] == value]
    return table


@pytest.mark.parametrize("of", [("dhc", "residual.n=2"), ("altup", "residual.embedding=widened")])
def test_the_matrices_come_back_from_their_cells(of):
    """Several slices of the embedding and of the end, too; but not if a cell is missing."""
    found = measured(*of)
    made = numbers(found)
    C_0, C, kinds = connections(made.connections, made.sublayers)
    np.testing.assert_array_equal(C_0, found.connections.C_0)
    np.testing.assert_array_equal(C, found.connections.C)
    assert kinds == found.kinds and len(made.connections) == C_0.size + C.size
    cell = where(made.connections, matrix=1, row=3, column=2)
    assert cell["weight"].item() == found.connections.C[0, 2, 1].item()
    for fewer in (made.connections[:-1], made.connections[:-3]):
        with pytest.raises(ValueError, match="missing"):
            connections(fewer, made.sublayers)


def test_every_table_has_its_columns(made):
    assert {name: tuple(table.columns) for name, table in made._asdict().items()} == dict(COLUMNS)


def test_similarities_are_quantiles_over_tokens(found, made):
    assert len(made.similarity) == L - 1 + LAYERS - 1
    (row,) = where(made.similarity, between="sublayer", layer=3).to_numpy()
    assert row[2:].tolist() == pytest.approx(np.quantile(found.sublayer_similarity[:, 2], [0.05, 0.5, 0.95]))
    one = found._replace(block_similarity=torch.zeros(3, 0))  # a single block has no neighbour
    assert set(numbers(one).similarity["between"]) == {"sublayer"}


def test_bins_hold_every_token_once(found, made):
    rows = where(made.coefficient_bins, coefficient="A_r", sublayer=2, source=1, target=2)
    values = found.A_r[:, 1, 0, 1].numpy()
    counts, edges = np.histogram(values, BINS)
    assert list(rows["share"]) == pytest.approx(counts / len(values))
    assert list(rows["left"]) == pytest.approx(edges[:-1]) and rows["right"].iloc[-1] == values.max()
    static = numbers(measured("shc", "residual.n=2")).coefficient_bins  # all tokens share one value
    assert len(static) == L * (2 + 2 + 4) and (static["left"] == static["right"]).all() and (static["share"] == 1).all()


def test_quantiles_are_of_the_coefficient_that_they_name(found, made):
    (row,) = where(made.coefficients, coefficient="B", sublayer=4, target=2).to_numpy()
    values = found.B[:, 3, 1].numpy()
    assert row[2] == 0 and row[4] == pytest.approx(values.mean())
    assert row[5:].tolist() == pytest.approx(np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95]))
    row = where(made.coefficients, coefficient="A_m", sublayer=1, source=1)
    assert row["target"].item() == 0 and row["median"].item() == pytest.approx(np.median(found.A_m[:, 0, 0]))


def test_gains_streams_and_ranks_count_sublayers_from_1(found, made):
    assert len(made.gains) == 3 * L
    last = where(made.gains, of="product", sublayer=L)[["forward", "backward"]]
    assert last.to_numpy().tolist() == [found.composite_gains[:, -1].tolist()]
    assert where(made.gains, of="mean product", sublayer=2)["forward"].item() == found.averaged_gains[0, 1].item()
    assert where(made.gains, of="sublayer", sublayer=3)["backward"].item() == found.sublayer_gains[1, 2].item()
    use = where(made.streams, sublayer=2, stream=1)
    assert (use["read"].item(), use["written"].item()) == (found.reads[1, 0].item(), found.writes[1, 0].item())
    assert list(made.ranks["sublayer"]) == list(range(1, L + 2))
