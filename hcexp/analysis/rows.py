"""The numbers of an analysis as tables: one file a kind of row, long, with named columns.

Sublayers are numbered from 1, as in the paper: with attention first, its sublayers have odd numbers. Streams too.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeVar

Row = TypeVar("Row", bound=NamedTuple)


class Weight(NamedTuple):
    """A cell of a connection matrix: `matrix` 0 is C^(0), i is C^(i). `row` and `column` count from 1.

    `into` and `of` say what they are: a sublayer's kind and number, `hidden` or `embedding`.
    """

    matrix: int
    row: int
    column: int
    into: str
    of: str
    weight: float


class Similarity(NamedTuple):
    """Cosine similarity between what layer `layer` and the one after it read, over tokens; a layer is a `sublayer` or a
    `block`. `low` and `high` are the 5 % and 95 % quantiles.
    """

    between: str
    layer: int
    low: float
    median: float
    high: float


class Bin(NamedTuple):
    """A bin of the distribution of a coefficient over tokens: `share` of them lie in `left` to `right`.

    `coefficient` is B, A_m or A_r; `source` and `target` are streams, 0 where there is none: B writes the sublayer's
    output into `target`, A_m reads `source`, A_r takes `source` into `target`. Where all tokens have one value, it is
    both ends of a single bin.
    """

    coefficient: str
    sublayer: int
    source: int
    target: int
    left: float
    right: float
    share: float


class Quantiles(NamedTuple):
    """The same distribution in five numbers and the mean, of the tokens in the sample."""

    coefficient: str
    sublayer: int
    source: int
    target: int
    mean: float
    low: float
    lower_quartile: float
    median: float
    upper_quartile: float
    high: float


class Gain(NamedTuple):
    """Largest absolute sums, see `measures.gains`, of A_r at `sublayer` (`of` sublayer) or of the product of those from
    the first to it: `product`, averaged over tokens, and `mean product`, that of the averaged matrix.
    """

    of: str
    sublayer: int
    forward: float
    backward: float


class StreamUse(NamedTuple):
    """Mean share of a stream in what a sublayer reads (A_m) and in where it writes (B), by absolute weight."""

    sublayer: int
    stream: int
    read: float
    written: float


class Rank(NamedTuple):
    """Mean effective rank of the streams before `sublayer`; the last row is after the last one."""

    sublayer: int
    effective_rank: float


class Gradient(NamedTuple):
    """The norm of the loss's gradient, `at` initial or checkpoint weights, by the parameters of a layer."""

    at: str
    layer: str
    parameters: int
    norm: float


class Ratio(NamedTuple):
    """The convergence ratio of a variant's seed, of the loss `metric`. It is in `at_least` if the variant was already
    below the baseline's loss where its curve begins, and was there sooner still; both are empty if it never was.
    """

    variant: str
    baseline: str
    metric: str
    seed: int
    ratio: float | None
    at_least: float | None = None


class Summary(NamedTuple):
    """The mean of these ratios over `seeds`, and the half width of its 95 % Student interval; both empty unless all
    seeds reached the baseline's loss, the latter also for a single one. If one of them is a lower bound, so is their
    mean: it is in `at_least`, without an interval.
    """

    variant: str
    baseline: str
    metric: str
    seeds: int
    reached: int
    ratio: float | None
    half_width: float | None
    at_least: float | None = None


def write_rows(path: Path, rows: Iterable[NamedTuple]) -> Path | None:
    """Write rows of one kind as CSV, floats to the last digit; without a row there is no file."""
    rows = list(rows)
    if not rows:
        path.unlink(missing_ok=True)
        return None
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(rows[0]._fields)
        out.writerows(rows)
    return path


def read_rows(path: Path, kind: type[Row]) -> list[Row]:
    """The rows of a file that `write_rows` has written; none if it is not there.

    Raises ValueError, naming the file, for one that is not of this kind.
    """
    if not path.is_file():
        return []
    casts = [_optional if cast == float | None else cast for cast in kind.__annotations__.values()]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
            if tuple(header) != kind._fields:
                raise ValueError(f"its columns are {', '.join(header)}")
            return [kind(*(cast(cell) for cast, cell in zip(casts, line, strict=True))) for line in lines]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is no table that hcexp analyse wrote ({error}): delete it, and analyse the run again"
        ) from None


def _optional(cell: str) -> float | None:
    return float(cell) if cell else None
