"""The mark of scores that only the beginning of each set and task has a part in."""

from collections.abc import Iterable

from omegaconf import DictConfig

from hcexp.report.looks import firsts


def quick_look(config: DictConfig, benchmarks: Iterable[str]) -> str:
    """`a quick look: the first 200 documents a set and task`; nothing where sets and tasks are read whole."""
    read: dict[str, list[str]] = {}
    for name in benchmarks:
        found, one = firsts(config, name)
        for first in found:
            read.setdefault(f"the {first} a", []).append(one)
    looks = ", ".join(f"{first} {' and '.join(of)}" for first, of in read.items())
    return f"a quick look: {looks}" if looks else ""
