"""A survey as rows."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from hcexp.analysis.rows import Bin, Gain, Gradient, Quantiles, Rank, Similarity, StreamUse, Weight
from hcexp.analysis.survey import Survey

BINS = 32
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def weights(survey: Survey) -> Iterator[Weight]:
    """Every cell of C^(0), then of C^(1) … C^(n)."""
    C_0, C, _ = survey.connections
    layers = [f"{kind} {k}" for k, kind in enumerate(survey.kinds, 1)]
    columns = _numbered("embedding", C_0.shape[-1] - len(layers)) + layers
    rows = layers + _numbered("hidden", C_0.shape[-2] - len(layers))
    for matrix, cells in enumerate([C_0, *C]):
        for row, line in enumerate(cells.tolist()):
            for column, weight in enumerate(line):
                yield Weight(matrix, row + 1, column + 1, rows[row], columns[column], weight)


def similarities(survey: Survey) -> Iterator[Similarity]:
    for between, sample in (("sublayer", survey.sublayer_similarity), ("block", survey.block_similarity)):
        if sample.shape[1]:
            levels = sample.quantile(sample.new_tensor([0.05, 0.5, 0.95]), dim=0).T.tolist()
            yield from (Similarity(between, layer, *values) for layer, values in enumerate(levels, 1))


def bins(survey: Survey) -> Iterator[Bin]:
    for name, sublayer, source, target, values in _coefficients(survey):
        low, high = values.min().item(), values.max().item()
        if low == high:
            yield Bin(name, sublayer, source, target, low, high, 1.0)
            continue
        counts, edges = torch.histogram(values, BINS, range=(low, high))
        shares, edges = (counts / len(values)).tolist(), edges.tolist()
        yield from (Bin(name, sublayer, source, target, *one) for one in zip(edges, edges[1:], shares, strict=False))


def quantiles(survey: Survey) -> Iterator[Quantiles]:
    for name, sublayer, source, target, values in _coefficients(survey):
        levels = values.quantile(values.new_tensor(QUANTILES)).tolist()
        yield Quantiles(name, sublayer, source, target, values.mean().item(), *levels)


def gain_rows(survey: Survey) -> Iterator[Gain]:
    of = {
        "sublayer": survey.sublayer_gains,
        "product": survey.composite_gains,
        "mean product": survey.averaged_gains,
    }
    for name, values in of.items():
        yield from (Gain(name, sublayer, *pair) for sublayer, pair in enumerate(values.T.tolist(), 1))


def stream_uses(survey: Survey) -> Iterator[StreamUse]:
    both = torch.stack((survey.reads, survey.writes), dim=-1).tolist()
    for sublayer, streams in enumerate(both, 1):
        yield from (StreamUse(sublayer, stream, *pair) for stream, pair in enumerate(streams, 1))


def ranks(survey: Survey) -> Iterator[Rank]:
    yield from (Rank(sublayer, rank) for sublayer, rank in enumerate(survey.ranks.tolist(), 1))


def gradients(at: str, norms: Mapping[str, float], parameters: Mapping[str, int]) -> Iterator[Gradient]:
    yield from (Gradient(at, layer, parameters[layer], norm) for layer, norm in norms.items())


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name} {number}" for number in range(1, count + 1)]


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
