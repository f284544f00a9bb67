"""The connection matrices that `hcexp analyse` left, of one run of every row, drawn for the page."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hcexp.analysis.folder import read_connections, read_manifest
from hcexp.analysis.tables import Connections
from hcexp.report.results import Results
from hcexp.run.folder import ANALYSIS
from hcexp.study.sweep.sweep import Outcome


class Matrices(NamedTuple):
    """Those of the first analysed seed of each row, by row and seed; `remarks` say what was left out, and why."""

    rows: Mapping[str, Connections]
    remarks: tuple[str, ...]


def matrices(results: Results) -> Matrices:
    """Those of the weights with which the runs ended; what cannot be drawn is told, and breaks no report."""
    rows, remarks = {}, []
    for label in results.labels:
        for run in sorted(results.runs(label), key=lambda run: run.seed):
            found = _read(run)
            if isinstance(found, str):
                remarks.append(f"{run.label}, seed {run.seed}: {found}.")
            elif found:
                rows[f"{run.label}, seed {run.seed}"] = found
                break
    return Matrices(rows, tuple(remarks))


def svg(found: Matrices) -> str:
    """The figure of `hcexp analyse` that compares runs, as SVG."""
    from hcexp.analysis import figures  # matplotlib is slow to import

    text = io.StringIO()
    figures.save_svg(figures.connections(found.rows), text)
    return text.getvalue()


def _read(run: Outcome) -> Connections | str | None:
    """The matrices of a run, why they are left out, or None if it was not analysed."""
    folder, end = Path(run.directory) / ANALYSIS, run.result.get("steps")
    manifest = read_manifest(folder)
    if manifest and manifest.step != end:
        return (
            f"its analysis is of step {manifest.step}, and the run ended at step {end}: left out; "
            f"hcexp analyse {run.directory} makes it anew"
        )
    try:
        found = read_connections(folder)
    except ValueError as error:
        return str(error)
    if found and not all(np.isfinite(C).all() for C in (found.C_0, found.C)):
        return "not all weights of its connections are finite"
    return found
