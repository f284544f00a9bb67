"""The mark of scores that only the beginning of each set and task has a part in."""

from collections.abc import Iterable

from omegaconf import DictConfig

from hcexp.evaluation import SUITES
from hcexp.evaluation.kept import conditions


def quick_look(config: DictConfig, benchmarks: Iterable[str]) -> str:
    """`a quick look: the first 200 documents a set and task`; nothing where sets and tasks are read whole."""
    firsts: dict[str, list[str]] = {}
    for name in benchmarks:
        under, one = conditions(config, name), "set" if name in SUITES else "task"
        for what, number in (("documents", under["documents"]), ("tokens", under["max_tokens"])):
            if number is not None:
                firsts.setdefault(f"the first {number:,} {what} a", []).append(one)
    looks = ", ".join(f"{first} {' and '.join(of)}" for first, of in firsts.items())
    return f"a quick look: {looks}" if looks else ""
