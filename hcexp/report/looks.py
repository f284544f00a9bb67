"""The mark of scores that only the beginning of each set or task has a part in."""

from collections.abc import Iterable

from hcexp.run.describe import firsts
from hcexp.study.sweep.sweep import Outcome


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
