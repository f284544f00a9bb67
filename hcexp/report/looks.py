"""The mark of scores that only the beginning of each set or task has a part in."""

from collections.abc import Iterable, Mapping
from typing import Any

from hcexp.report.suites import DOWNSTREAM
from hcexp.run.scores import conditions
from hcexp.study.sweep.sweep import Outcome


def firsts(config: Mapping[str, Any], benchmark: str) -> tuple[list[str], str]:
    """`["first 200 documents"]`, of each `set` or `task`; no more than the latter where they are read whole."""
    under = conditions(config, benchmark)
    read = (("documents", under["documents"]), ("tokens", under["max_tokens"]))
    found = [f"first {number:,} {what}" for what, number in read if number is not None]
    return found, "task" if benchmark == DOWNSTREAM else "set"


def look(outcome: Outcome, benchmark: str) -> str:
    """`first 200 documents a set`; nothing where the run reads sets and tasks whole, or recorded no configuration."""
    config = outcome.result.get("config")
    if not config:
        return ""
    found, one = firsts(config, benchmark)
    return ", ".join(f"{first} a {one}" for first in found)


def looks(finished: Iterable[Outcome], benchmarks: Iterable[str]) -> dict[str, str]:
    """The mark of each benchmark that some run did not read whole; ` · ` stands between marks that differ."""
    finished, found = list(finished), {}
    for benchmark in benchmarks:
        known = [look(each, benchmark) for each in finished if has(each, benchmark)]
        if any(known):
            found[benchmark] = " · ".join(dict.fromkeys(text or "whole" for text in known))
    return found


def has(outcome: Outcome, benchmark: str) -> bool:
    """Whether the run was measured on it."""
    return any(name.startswith(f"{benchmark}/") for name in outcome.metrics)


def marked(text: str, mark: str | None) -> str:
    """`text (mark)`, or the bare text."""
    return f"{text} ({mark})" if mark else text
