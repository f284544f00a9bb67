"""The numbers of an analysis: long frames with named columns, one a kind.

Sublayers, layers, streams, and the rows and columns of matrices are numbered from 1, as in the paper: with attention
first, its sublayers have odd numbers.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from hcexp.analysis.survey import Survey

BINS = 32
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
COEFFICIENT = ("coefficient", "sublayer", "source", "target")


class Numbers(NamedTuple):
    """All tables of one analysis; see `COLUMNS`.

    sublayers: the `kind` of each, attention or feed_forward.
    connections: every cell of the connection matrices: `matrix` 0 is C^(0), i is C^(i); see `Connections`.
    similarity: cosine between what layer `layer` and the one after it read, over tokens, a `sublayer` or a `block`
        apart; `low` and `high` are the 5 % and 95 % quantiles.
    coefficients: the distribution of a coefficient over tokens in five numbers and the mean. `coefficient` is B, A_m or
        A_r; `source` and `target` are streams, 0 where there is none: B writes the sublayer's output into `target`, A_m
        reads `source`, A_r takes `source` into `target`.
    coefficient_bins: the same as a histogram: `share` of the tokens lie in `left` to `right`. Where all tokens have one
        value, it is both ends of a single bin.
    gains: largest absolute sums, see `measures.gains`, of A_r at `sublayer` (`of` sublayer) or of the product of those
        from the first to it: `product`, averaged over tokens, and `mean product`, that of the averaged matrix.
    streams: mean share of a stream in what a sublayer reads (A_m) and in where it writes (B), by absolute weight.
    ranks: mean effective rank of the streams before `sublayer`; the last row is after the last one.
    gradients: the norm of the loss's gradient, `at` initial or checkpoint weights, by the parameters of a layer.
    curves: what the run recorded; empty for one that recorded nothing. See `history.Point`.
    """

    sublayers: pd.DataFrame
    connections: pd.DataFrame
    similarity: pd.DataFrame
    coefficients: pd.DataFrame
    coefficient_bins: pd.DataFrame
    gains: pd.DataFrame
    streams: pd.DataFrame
    ranks: pd.DataFrame
    gradients: pd.DataFrame
    curves: pd.DataFrame


COLUMNS: Mapping[str, tuple[str, ...]] = {
    "sublayers": ("sublayer", "kind"),
    "connections": ("matrix", "row", "column", "weight"),
    "similarity": ("between", "layer", "low", "median", "high"),
    "coefficients": (*COEFFICIENT, "mean", "low", "lower_quartile", "median", "upper_quartile", "high"),
    "coefficient_bins": (*COEFFICIENT, "left", "right", "share"),
    "gains": ("of", "sublayer", "forward", "backward"),
    "streams": ("sublayer", "stream", "read", "written"),
    "ranks": ("sublayer", "effective_rank"),
    "gradients": ("at", "layer", "parameters", "norm"),
    "curves": ("metric", "step", "tokens", "value"),
}


def frame(name: str, rows: Iterable[tuple] = ()) -> pd.DataFrame:
    """A table of that name with these rows."""
    return pd.DataFrame(list(rows), columns=list(COLUMNS[name]))


def numbers(survey: Survey) -> Numbers:
    """A survey as tables; those of gradients and curves, of which it knows nothing, are empty."""
    return Numbers(
        sublayers=frame("sublayers", enumerate(survey.kinds, 1)),
        connections=matrix_cells(survey.connections.C_0.numpy(), survey.connections.C.numpy()),
        similarity=frame("similarity", _similarities(survey)),
        coefficients=frame("coefficients", _quantiles(survey)),
        coefficient_bins=frame("coefficient_bins", _bins(survey)),
        gains=frame("gains", _gains(survey)),
        streams=frame("streams", _streams(survey)),
        ranks=frame("ranks", enumerate(survey.ranks.tolist(), 1)),
        gradients=frame("gradients"),
        curves=frame("curves"),
    )


class Connections(NamedTuple):
    """Connection matrices of L sublayers with n streams, averaged over tokens, float64; see `residual.unfolding`.

    C_0: (L + outputs, embeddings + L). Row k: weights in the input of sublayer k + 1; the last row, in the hidden
         vector before the final norm. Columns: the embedding, then the sublayers' outputs. A mode that embeds or ends
         wider than d has a column or a row for each slice of width d.
    C:   (n, L, embeddings + L). C[i]: weights in stream i + 1 where it passes the sublayer by.
    kinds: "attention" or "feed_forward", for each of the L sublayers.
    """

    C_0: np.ndarray
    C: np.ndarray
    kinds: tuple[str, ...]


def matrix_cells(C_0: np.ndarray, C: np.ndarray) -> pd.DataFrame:
    """The table of that C_0 and C, which are as in `Connections`."""

    def cells(matrix: int, C: np.ndarray) -> pd.DataFrame:
        row, column = np.indices(C.shape) + 1
        return pd.DataFrame({"matrix": matrix, "row": row.ravel(), "column": column.ravel(), "weight": C.ravel()})

    return pd.concat(map(cells, count(), [C_0, *C]))


def connections(cells: pd.DataFrame, sublayers: pd.DataFrame) -> Connections:
    """The matrices of these cells, from the tables of that name; ValueError if some are missing."""
    matrices = [
        part.pivot(index="row", columns="column", values="weight") for _, part in cells.groupby("matrix", sort=True)
    ]
    C_0, *C = (matrix.to_numpy(dtype=np.float64) for matrix in matrices)
    kinds = tuple(sublayers["kind"])
    if len(cells) != sum(C.size for C in (C_0, *C)) or {len(each) for each in C} != {len(kinds)}:
        raise ValueError("cells of the matrices are missing")
    return Connections(C_0, np.stack(C), kinds)


def _similarities(survey: Survey) -> Iterator[tuple]:
    for between, sample in (("sublayer", survey.sublayer_similarity), ("block", survey.block_similarity)):
        if sample.shape[1]:
            levels = sample.quantile(sample.new_tensor([0.05, 0.5, 0.95]), dim=0).T.tolist()
            yield from ((between, layer, *values) for layer, values in enumerate(levels, 1))


def _bins(survey: Survey) -> Iterator[tuple]:
    for *of, values in _coefficients(survey):
        low, high = values.min().item(), values.max().item()
        if low == high:
            yield *of, low, high, 1.0
            continue
        counts, edges = torch.histogram(values, BINS, range=(low, high))
        shares, edges = (counts / len(values)).tolist(), edges.tolist()
        yield from ((*of, *one) for one in zip(edges, edges[1:], shares, strict=False))


def _quantiles(survey: Survey) -> Iterator[tuple]:
    for *of, values in _coefficients(survey):
        yield *of, values.mean().item(), *values.quantile(values.new_tensor(LEVELS)).tolist()


def _gains(survey: Survey) -> Iterator[tuple]:
    of = {"sublayer": survey.sublayer_gains, "product": survey.composite_gains, "mean product": survey.averaged_gains}
    for name, values in of.items():
        yield from ((name, sublayer, *pair) for sublayer, pair in enumerate(values.T.tolist(), 1))


def _streams(survey: Survey) -> Iterator[tuple]:
    both = torch.stack((survey.reads, survey.writes), dim=-1).tolist()
    for sublayer, streams in enumerate(both, 1):
        yield from ((sublayer, stream, *pair) for stream, pair in enumerate(streams, 1))


def _coefficients(survey: Survey) -> Iterator[tuple[str, int, int, int, Tensor]]:
    """Name, sublayer, source, target and values, (tokens of the sample,), of every coefficient."""
    layers, n = survey.B.shape[1:]
    for k in range(layers):
        for stream in range(n):
            yield "B", k + 1, 0, stream + 1, survey.B[:, k, stream]
        for stream in range(n):
            yield "A_m", k + 1, stream + 1, 0, survey.A_m[:, k, stream]
        for source in range(n):
            for target in range(n):
                yield "A_r", k + 1, source + 1, target + 1, survey.A_r[:, k, source, target]
