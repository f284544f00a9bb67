"""The folder that `hcexp analyse` leaves: a CSV file a table, and `analysis.json`, which is written last."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pandas as pd

from hcexp.analysis.tables import COLUMNS, Connections, Numbers, connections, frame
from hcexp.disk.atomic import write_json

MANIFEST = "analysis.json"
VERSION = 2  # of what the tables hold
# The columns of text, by table; all others are numbers.
TEXT = {
    "sublayers": {"kind"},
    "similarity": {"between"},
    "coefficients": {"coefficient"},
    "coefficient_bins": {"coefficient"},
    "gains": {"of"},
    "gradients": {"at", "layer"},
    "curves": {"metric"},
}


@dataclass(frozen=True)
class Manifest:
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
    version: int = VERSION


def write_table(path: Path, table: pd.DataFrame) -> Path | None:
    """Write a table as CSV, floats to the last digit; without a row there is no file."""
    if table.empty:
        path.unlink(missing_ok=True)
        return None
    table.to_csv(path, index=False, lineterminator="\n")
    return path


def write_numbers(folder: Path, numbers: Numbers) -> list[Path]:
    """Write every table that has a row; returns the files. What they are of is written last, by `write_manifest`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    written = [write_table(folder / f"{name}.csv", table) for name, table in numbers._asdict().items()]
    return [path for path in written if path]


def write_manifest(folder: Path, manifest: Manifest) -> Path:
    """Say what the folder's tables and figures are of: without this they do not count."""
    write_json(folder / MANIFEST, asdict(manifest))
    return folder / MANIFEST


def read_numbers(folder: Path) -> Numbers:
    """Raises ValueError, naming the file, for one that is no such table."""
    return Numbers(*(_read(folder, name) for name in Numbers._fields))


def read_manifest(folder: Path) -> Manifest | None:
    """None if the folder has no analysis, or one that was not finished, or of another version of this file."""
    try:
        content = json.loads((folder / MANIFEST).read_text())
        return Manifest(**content) if content["version"] == VERSION else None
    except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
        return None


def read_connections(folder: Path) -> Connections | None:
    """The matrices in `folder`, such as a run's `analysis`; None if it has no analysis.

    Raises ValueError, naming the file, for one that `hcexp analyse` did not write.
    """
    if read_manifest(folder) is None or (cells := _read(folder, "connections")).empty:
        return None
    try:
        return connections(cells, _read(folder, "sublayers"))
    except ValueError:
        raise ValueError(
            f"{folder / 'connections.csv'} has not all cells of its matrices: delete it, and analyse the run again"
        ) from None


def _read(folder: Path, name: str) -> pd.DataFrame:
    """A table of the folder; an empty one if it is not there."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        return frame(name)
    try:
        found = pd.read_csv(path)
        if tuple(found.columns) != COLUMNS[name] or not isinstance(
            found.index, pd.RangeIndex
        ):  # more cells than columns
            raise ValueError(f"its columns are {', '.join(found.columns)}")
        if odd := set(found.select_dtypes(exclude="number")) - TEXT.get(name, set()):
            raise ValueError(f"its column {min(odd)} has what is no number")
        return found
    except ValueError as error:
        line = str(error).partition("\n")[0]
        raise ValueError(
            f"{path} is no table that hcexp analyse wrote ({line}): delete it, and analyse the run again"
        ) from None
