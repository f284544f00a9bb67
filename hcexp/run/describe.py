"""A run in words: its residual mode, what tells it from others, its schedule, how much its evaluation read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from hcexp.run.identity import effective, flat
from hcexp.run.scores import conditions

SEEDS = ("seed", "data.seed")
CLASS = "residual._target_"  # what its name says already


def name(config: DictConfig) -> str:
    """A run in a few words: its residual mode, with the expansion rate if it has one."""
    n = config.residual.get("n")
    return f"{config.choices.residual}{f' n={n}' if n is not None else ''}"


def labels(configs: Sequence[DictConfig], steps: Sequence[int]) -> list[str]:
    """What a figure calls each run, from its configuration and the step of its checkpoint.

    It is the same for runs that differ in nothing but the seed; to others of the same residual mode it adds what they
    differ in.
    """
    knobs = [_knobs(config) | {"step": step} for config, step in zip(configs, steps, strict=True)]
    names = [name(config) for config in configs]
    found = []
    for own, called in zip(knobs, names, strict=True):
        others = [other for other, also in zip(knobs, names, strict=True) if also == called]
        differing = sorted(
            {knob for other in others for knob in own.keys() | other.keys() if own.get(knob) != other.get(knob)}
        )
        words = [f"{knob.rpartition('.')[2]}={own.get(knob)}" for knob in differing if knob != CLASS]
        found.append(", ".join([called, *words]))
    return found


def told_apart(called: Sequence[str], configs: Sequence[DictConfig], *marks: Sequence[str]) -> list[str]:
    """The labels, with a word more where one label stands for several runs of a seed, of which one only could be drawn.

    The word is in what they differ: the seed of the data, where that is not the run's own, else the first of `marks`
    that tells them apart. Each of these has a word for every run, empty for what is unknown.
    """
    seeds = [config.seed for config in configs]
    of_data = [config.data.get("seed", config.seed) for config in configs]
    other = [f"data.seed={own}" if own != seed else "" for own, seed in zip(of_data, seeds, strict=True)]
    for words in (other, *marks):
        runs: dict[tuple[str, int], list[str]] = {}
        for label, seed, word in zip(called, seeds, words, strict=True):
            runs.setdefault((label, seed), []).append(word)
        mixed = {label for (label, _), of_one in runs.items() if len(set(of_one)) > 1}
        called = [
            f"{label}, {word}" if label in mixed and word else label for label, word in zip(called, words, strict=True)
        ]
    return list(called)


def repeated(called: Sequence[str], seeds: Sequence[int]) -> list[int]:
    """Where in these lists the first label stands that more than one run of a seed has; nothing if none does."""
    runs = list(zip(called, seeds, strict=True))
    twice = next((run for run, count in Counter(runs).items() if count > 1), None)
    return [place for place, run in enumerate(runs) if run == twice]


def decay(config: Mapping[str, Any]) -> str:
    """`cosine to 10 %`: to what part of its peak the learning rate falls by the last step; nothing if it stays."""
    schedule = config.get("schedule") or {}
    ratio = schedule.get("min_lr_ratio")
    return "" if ratio in (None, 1) else f"{schedule['shape']} to {100 * ratio:g} %"


def firsts(config: Mapping[str, Any], benchmark: str) -> tuple[list[str], str]:
    """`["first 200 documents"]`, of each `set` or `task`; no more than the latter where they are read whole."""
    under = conditions(config, benchmark)
    read = (("documents", under["documents"]), ("tokens", under["max_tokens"]))
    found = [f"first {number:,} {what}" for what, number in read if number is not None]
    return found, "task" if benchmark == "downstream" else "set"


def quick_look(config: Mapping[str, Any], benchmarks: Iterable[str]) -> str:
    """`a quick look: the first 200 documents a set and task`; nothing where sets and tasks are read whole."""
    read: dict[str, list[str]] = {}
    for benchmark in benchmarks:
        found, one = firsts(config, benchmark)
        for first in found:
            read.setdefault(f"the {first} a", []).append(one)
    looks = ", ".join(f"{first} {' and '.join(of)}" for first, of in read.items())
    return f"a quick look: {looks}" if looks else ""


def _knobs(config: DictConfig) -> dict[str, Any]:
    """Every knob that can change a result, the seeds aside."""
    return {knob: value for knob, value in flat(effective(config)).items() if knob not in SEEDS}
