"""The folder that `hcexp analyse` leaves: a CSV file a kind of row, and `analysis.json`, which is written last."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcexp.analysis.rows import (
    Bin,
    Gain,
    Gradient,
    Quantiles,
    Rank,
    Similarity,
    StreamUse,
    Weight,
    read_rows,
    write_rows,
)
from hcexp.disk.atomic import write_json
from hcexp.run.history import Point

ABOUT = "analysis.json"
CONNECTIONS = "connections.csv"


@dataclass(frozen=True)
class About:
    """What was analysed: a run's weights after `step` optimiser steps, by their sha256.

    `documents` and `max_tokens` say how much of each of the validation sets was read, from its beginning; None for all.
    `tracked` is whether the tracking store has the files.
    """

    run: str
    seed: int
    step: int
    checkpoint: str
    suite: str
    sets: list[str]
    documents: int | None
    max_tokens: int | None
    tracked: bool = field(default=False, compare=False)


class Numbers(NamedTuple):
    """All rows of one analysis. Curves are empty for a run that recorded none."""

    connections: list[Weight]
    similarity: list[Similarity]
    coefficients: list[Quantiles]
    coefficient_bins: list[Bin]
    gains: list[Gain]
    streams: list[StreamUse]
    ranks: list[Rank]
    gradients: list[Gradient]
    curves: list[Point]


KINDS: Mapping[str, type] = dict(
    zip(Numbers._fields, (Weight, Similarity, Quantiles, Bin, Gain, StreamUse, Rank, Gradient, Point), strict=True)
)


def write_numbers(folder: Path, numbers: Numbers) -> list[Path]:
    """Write every table that has a row; returns the files. What they are of is written last, by `write_about`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ABOUT).unlink(missing_ok=True)
    written = [write_rows(folder / f"{name}.csv", rows) for name, rows in numbers._asdict().items()]
    return [path for path in written if path]


def write_about(folder: Path, about: About) -> Path:
    """Say what the folder's tables and figures are of: without this they do not count."""
    write_json(folder / ABOUT, asdict(about))
    return folder / ABOUT


def read_numbers(folder: Path) -> Numbers:
    """Raises ValueError, naming the file, for one that is no such table."""
    return Numbers(*(read_rows(folder / f"{name}.csv", kind) for name, kind in KINDS.items()))


def read_about(folder: Path) -> About | None:
    """None if the folder has no analysis, or one that was not finished, or of another version of this file."""
    try:
        return About(**json.loads((folder / ABOUT).read_text()))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


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


def read_connections(folder: Path) -> Connections | None:
    """The matrices in `folder`, such as a run's `analysis`; None if it has no analysis.

    Raises ValueError, naming the file, for one that `hcexp analyse` did not write.
    """
    if read_about(folder) is None or not (cells := read_rows(folder / CONNECTIONS, Weight)):
        return None
    try:
        return connections(cells)
    except (ValueError, IndexError):
        raise ValueError(
            f"{folder / CONNECTIONS} has not all cells of its matrices: delete it, and analyse the run again"
        ) from None


def connections(cells: list[Weight]) -> Connections:
    """The matrices of these cells, which are in the order of `tables.weights`."""
    of_matrix: dict[int, list[Weight]] = {}
    for cell in cells:
        of_matrix.setdefault(cell.matrix, []).append(cell)
    C_0, *C = (_matrix(of_matrix[index]) for index in sorted(of_matrix))
    inputs = dict.fromkeys(cell.into for cell in cells)
    kinds = tuple(name.split()[0] for name in inputs if not name.startswith("hidden"))
    return Connections(C_0, np.stack(C), kinds)


def _matrix(cells: list[Weight]) -> np.ndarray:
    return np.array([cell.weight for cell in cells]).reshape(cells[-1].row, cells[-1].column)
