"""Runs beside each other: which belong together, what they are called, and how much sooner one is there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from hcexp.analysis import Convergence, convergence
from hcexp.analysis.curves import curve, is_average, mean_metrics
from hcexp.analysis.rows import Ratio, Summary
from hcexp.report.provenance import decay
from hcexp.report.statistics import estimate
from hcexp.run.history import Point
from hcexp.run.identity import effective, flat

SEEDS = ("seed", "data.seed")
CLASS = "residual._target_"  # what its name says already


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
            {knob for other in others for knob in own.keys() | other.keys() if _differ(own, other, knob)}
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


def name(config: DictConfig) -> str:
    """A run in a few words: its residual mode, with the expansion rate if it has one."""
    n = config.residual.get("n")
    return f"{config.choices.residual}{f' n={n}' if n is not None else ''}"


def ratios(runs: Mapping[str, Mapping[int, Sequence[Point]]]) -> tuple[list[Ratio], list[Summary]]:
    """The convergence ratios of every run with the first, from their curves by label and seed; paired by seed.

    Of the averaged training loss, and of every mean validation loss that both measured while they trained: what was
    measured but once, at the end, does not say when a run got there.
    """
    baseline, *variants = runs
    every, summed = [], []
    for metric in _losses(runs):
        ends = _of(runs[baseline], metric)
        for variant in variants:
            found = convergence(_of(runs[variant], metric), ends)
            of = (variant, baseline, metric)
            for seed, ratio in found.ratios.items():
                every.append(Ratio(*of, seed, *((None, ratio) if seed in found.at_least else (ratio, None))))
            every += [Ratio(*of, seed, None) for seed in found.not_reached]
            if found.ratios or found.not_reached:
                summed.append(_summary(of, found))
    return every, summed


def caveat(config: DictConfig) -> str:
    """What speaks against the ratios, in a sentence, from the baseline's configuration; nothing if its learning rate
    stays.
    """
    if not (to := decay(config)):
        return ""
    return (
        "These ratios are biased against the variants: the baseline is taken at its end, where its learning rate has "
        f"decayed ({to} of its peak), and a variant before its end, where it has not yet."
    )


def _summary(of: tuple[str, str, str], found: Convergence) -> Summary:
    count, ratios = len(found.ratios) + len(found.not_reached), list(found.ratios.values())
    mean = None if found.not_reached else estimate(ratios)
    if mean and found.at_least:
        return Summary(*of, count, len(ratios), None, None, mean.mean)
    return Summary(*of, count, len(ratios), *((mean.mean, mean.half_width) if mean else (None, None)))


def _losses(runs: Mapping[str, Mapping[int, Sequence[Point]]]) -> list[str]:
    points = [point for seeds in runs.values() for rows in seeds.values() for point in rows]
    averages = sorted({point.metric for point in points if is_average(point.metric)})
    return averages + [metric for metric in mean_metrics(points) if metric.endswith("/loss")]


def _of(seeds: Mapping[int, Sequence[Point]], metric: str) -> dict[int, list[tuple[int, float]]]:
    """The curves of those seeds that have more than an end."""
    curves = {seed: curve(points, metric) for seed, points in seeds.items()}
    return {seed: points for seed, points in curves.items() if len(points) > 1}


def _knobs(config: DictConfig) -> dict[str, Any]:
    """Every knob that can change a result, the seeds aside."""
    return {knob: value for knob, value in flat(effective(config)).items() if knob not in SEEDS}


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], knob: str) -> bool:
    return one.get(knob) != other.get(knob)
