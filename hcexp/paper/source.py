"""The file `tables.json`, read once. Others ask `table`, `listing` and `errata`."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def document() -> dict[str, Any]:
    """`source`, `note`, `tables` (by number, as a string) and `errata`. Shared: not to be changed."""
    return json.loads(files("hcexp.paper").joinpath("tables.json").read_text(encoding="utf-8"))


def entry(number: int) -> dict[str, Any]:
    """One table as stored; ValueError if the paper has no table of that number."""
    tables = document()["tables"]
    # True == 1 in Python, but nobody means Table True.
    if isinstance(number, bool) or str(number) not in tables:
        raise ValueError(f"paper table {number!r}: the paper has Tables 1 to {len(tables)}")
    return tables[str(number)]
