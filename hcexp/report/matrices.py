"""The connection matrices that `hcexp analyse` left, of one run of every row, for the page."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcexp.analysis.written import Connections, read_about, read_connections
from hcexp.report.looks import marked
from hcexp.run.folder import ANALYSIS
from hcexp.study.sweep.sweep import Outcome, Sweep

# The colours end at the size that this share of the weights does not exceed, as in the figures of `hcexp analyse`.
SCALE_QUANTILE = 0.9
LEVELS = 20


@dataclass(frozen=True)
class RowMatrices:
    """Of the first finished seed of a row that has been analysed."""

    label: str
    seed: int
    connections: Connections


@dataclass(frozen=True)
class Matrices:
    """Of all rows that have any, on one scale of colours from -`limit` to `limit`; `remarks` say what was left out."""

    rows: tuple[RowMatrices, ...]
    limit: float
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Panel:
    """One matrix to draw, a cell a unit: `paths` are (sign, strength in 1 … 20, SVG path) of what is not pale.

    `names` and `attention` are of its rows and of its columns.
    """

    title: str
    values: np.ndarray
    paths: tuple[tuple[str, int, str], ...]
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    attention_rows: tuple[int, ...]
    attention_columns: tuple[int, ...]


def matrices(sweep: Sweep, finished: Sequence[Outcome]) -> Matrices:
    """What there is of the weights with which the runs ended; what cannot be drawn is told, and breaks no report."""
    rows, remarks = [], []
    for row in sweep.rows:
        runs = sorted((outcome for outcome in finished if outcome.label == row.label), key=lambda run: run.seed)
        for run in runs:
            folder, end = Path(run.directory) / ANALYSIS, run.result.get("steps")
            about = read_about(folder)
            if about and about.step != end:
                remarks.append(
                    f"{row.label}, seed {run.seed}: its analysis is of step {about.step}, and the run ended at step "
                    f"{end}: left out; hcexp analyse {run.directory} makes it anew."
                )
                continue
            try:
                found = read_connections(folder)
            except ValueError as error:
                remarks.append(f"{row.label}, seed {run.seed}: {error}.")
                continue
            if found and not all(np.isfinite(C).all() for C in (found.C_0, found.C)):
                remarks.append(f"{row.label}, seed {run.seed}: not all weights of its connections are finite.")
            elif found:
                rows.append(RowMatrices(row.label, run.seed, found))
                break
    return Matrices(tuple(rows), _limit([row.connections for row in rows]), tuple(remarks))


def _limit(known: Sequence[Connections]) -> float:
    """Of the weights other than 0, those of the last hidden vector aside: it sums up the streams, before its norm."""
    sizes = [np.abs(C).ravel() for each in known for C in (each.C_0[: len(each.kinds)], each.C)]
    sizes = np.concatenate(sizes) if sizes else np.empty(0)
    return float(np.quantile(sizes[sizes > 0], SCALE_QUANTILE)) if sizes.any() else 1.0


def panels(row: RowMatrices, limit: float) -> Iterator[Panel]:
    """C^(0), then C^(i) of every stream if there are several."""
    kinds = row.connections.kinds
    embeddings = row.connections.C_0.shape[1] - len(kinds)
    sublayers = [marked(f"sublayer {k}", kind.replace("_", "-")) for k, kind in enumerate(kinds, start=1)]
    columns = _numbered("the embedding", embeddings) + [f"the output of {sublayer}" for sublayer in sublayers]
    attention = [k for k, kind in enumerate(kinds) if kind == "attention"]
    streams = row.connections.C if len(row.connections.C) > 1 else ()
    for stream, C in enumerate((row.connections.C_0, *streams)):
        if stream:
            title, rows = f"stream {stream}", [f"stream {stream} past {sublayer}" for sublayer in sublayers]
        else:
            title, rows = row.label, [f"the input of {sublayer}" for sublayer in sublayers]
            rows += _numbered("the last hidden vector", len(C) - len(kinds))
        yield Panel(
            title=title,
            values=C,
            paths=tuple(_paths(C, limit)),
            row_names=tuple(rows),
            column_names=tuple(columns),
            attention_rows=tuple(attention),
            attention_columns=tuple(embeddings + k for k in attention),
        )


def matrix_data(drawn: Iterable[Panel]) -> list[dict[str, Any]]:
    """The panels as JSON, for matrices.js; weights have four digits after the point."""
    return [
        {"rows": panel.row_names, "columns": panel.column_names, "values": np.round(panel.values, 4).tolist()}
        for panel in drawn
    ]


def _numbered(name: str, number: int) -> list[str]:
    return [name] if number == 1 else [f"{name}, slice {index}" for index in range(1, number + 1)]


def _paths(C: np.ndarray, limit: float) -> Iterator[tuple[str, int, str]]:
    """Cells of one colour as one path; neighbours in a row as one rectangle."""
    strength = np.sign(C) * np.minimum(np.rint(np.abs(C) / limit * LEVELS), LEVELS)
    drawn: dict[int, list[str]] = {}
    for y, line in enumerate(strength.astype(int).tolist()):
        x = 0
        while x < len(line):
            end = x + 1
            while end < len(line) and line[end] == line[x]:
                end += 1
            if line[x]:
                drawn.setdefault(line[x], []).append(f"M{x} {y}h{end - x}v1H{x}z")
            x = end
    for level, parts in sorted(drawn.items()):
        yield "more" if level > 0 else "less", abs(level), "".join(parts)
