"""Tuned values: what a search found best for each of its rows, kept in a file, and given to the rows of other sweeps.

They stand behind what is common to a sweep's rows, and before a row's own overrides and those of the command line: of
two values for a knob the one that was asked for more explicitly counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from hcexp.study.search.result import RowResult
from hcexp.study.sweep.checks import check_keys, check_knob, check_whole
from hcexp.study.sweep.data import check_data, read_yaml
from hcexp.study.sweep.overrides import override, read
from hcexp.study.sweep.sweep import Row, Sweep, Tuning

FILE = "tuned.yaml"
KEYS = ("sweep", "scale", "seed", "command", "trials", "rows")
SETTLED = ("finished", "pruned", "failed")
ROW_KEYS = ("label", "overrides", "values", "loss", *SETTLED)


def tuned_text(sweep: Sweep, scale: str, command: str, found: Sequence[RowResult]) -> str:
    """What goes into the file; a row of which no trial is finished yet has no values."""
    rows = [
        {
            "label": row.label,
            "overrides": [*sweep.overrides, *row.overrides],
            "values": row.best and dict(row.best.values),
            "loss": row.best and row.best.loss,
            **{state: row.count(state) for state in SETTLED},
        }
        for row in found
    ]
    content = dict(zip(KEYS, (sweep.name, scale, sweep.seeds[0], command, sweep.search.trials, rows), strict=True))
    header = f"# The best values of every row; another sweep takes them with --tuned {sweep.name}\n"
    return header + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


def tuned(sweep: Sweep, file: Path, scale: str, overrides: Sequence[str] = ()) -> Sweep:
    """The sweep with the tuned values of `file` in its rows; `overrides` are those of the command line.

    A row takes the values of the tuned row all of whose overrides it has, among its own, the sweep's and the command
    line's. Of several it is the one with the most.

    Raises ValueError, in one line, if the file is missing, of another scale or of a search that is not through, and
    if a row has no such tuned row, or several with other values.
    """
    if sweep.search:
        raise ValueError(f"--tuned: {sweep.name} is a search itself, and takes no tuned values")
    content = _read(file, scale)
    rows, values = [], {}
    for row in sweep.rows:
        found = _match(row, read([*sweep.overrides, *row.overrides, *overrides]), content["rows"], file)
        values[row.label] = found
        rows.append(Row(row.label, (*(override(knob, value) for knob, value in found.items()), *row.overrides)))
    return replace(sweep, rows=tuple(rows), tuning=Tuning(file, content["sweep"], content["trials"], values))


def _read(file: Path, scale: str) -> dict[str, Any]:
    try:
        content = read_yaml(file)
    except FileNotFoundError:
        raise ValueError(f"--tuned: {file} does not exist; hcexp sweep writes it at the end of a search") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"--tuned: {file} cannot be read: {error}") from None
    where = f"--tuned: {file}"
    check_keys(where, content, KEYS, required=KEYS)
    if content["scale"] != scale:
        raise ValueError(f"{where} is of scale={content['scale']}, not {scale}")
    if not isinstance(content["rows"], list):
        raise ValueError(f"{where}: rows {content['rows']!r} is not a list")
    check_data(where, content["rows"])
    check_whole(f"{where}: trials", content["trials"], 1)
    for row in content["rows"]:
        check_keys(f"{where}: a row", row, ROW_KEYS, required=ROW_KEYS)
        for state in SETTLED:
            check_whole(f"{where}: {state}", row[state], 0)
        settled = sum(row[state] for state in SETTLED)
        if settled < content["trials"]:
            again = f"{content['command']} goes on"
            raise ValueError(f"{where}: {row['label']} has only {settled} of {content['trials']} trials; {again}")
        if not (isinstance(row["values"], dict) and row["values"]):
            raise ValueError(f"{where}: no trial of {row['label']} is finished, so that there are no values")
        for knob, value in row["values"].items():
            check_knob(where, knob, value)
    return content


def _match(row: Row, given: Mapping[str, Any], known: Sequence[Mapping[str, Any]], file: Path) -> Mapping[str, Any]:
    fitting: dict[int, list[Mapping[str, Any]]] = {}
    for each in known:
        asked = read(each["overrides"])
        if all(knob in given and given[knob] == value for knob, value in asked.items()):
            fitting.setdefault(len(asked), []).append(each)
    if not fitting:
        labels = ", ".join(each["label"] for each in known) or "nothing"
        raise ValueError(f"--tuned: {file} has no values for the row {row.label}; it has {labels}")
    first, *others = fitting[max(fitting)]
    for other in others:
        if other["values"] != first["values"]:
            both = f"{first['label']} and {other['label']}"
            raise ValueError(f"--tuned: {file} has two sets of values for the row {row.label}: {both}")
    return first["values"]
