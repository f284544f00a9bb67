"""Runs beside each other: which belong together, what they are called, and how much sooner one is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from hcexp.analysis import convergence
from hcexp.analysis.curves import curve, is_average, mean_metrics
from hcexp.analysis.rows import Point, Ratio, Summary
from hcexp.identity import effective, flat
from hcexp.report.statistics import estimate

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


def name(config: DictConfig) -> str:
    """A run in a few words: its residual mode, with the expansion rate if it has one."""
    n = config.residual.get("n")
    return f"{config.choices.residual}{f' n={n}' if n is not None else ''}"


def ratios(runs: Mapping[str, Mapping[int, Sequence[Point]]]) -> tuple[list[Ratio], list[Summary]]:
    """The convergence ratios of every run with the first, from their curves by label and seed; paired by seed.

    Of the averaged training loss, and of every mean validation loss that both measured while they trained.
    """
    baseline, *variants = runs
    every, summed = [], []
    for metric in _losses(runs):
        ends = {seed: points for seed, points in _of(runs[baseline], metric).items() if len(points) > 1}
        for variant in variants:
            found = convergence(_of(runs[variant], metric), ends)
            of = (variant, baseline, metric)
            every += [Ratio(*of, seed, ratio) for seed, ratio in found.ratios.items()]
            every += [Ratio(*of, seed, None) for seed in found.not_reached]
            if count := len(found.ratios) + len(found.not_reached):
                mean = None if found.not_reached else estimate(list(found.ratios.values()))
                value = (mean.mean, mean.half_width) if mean else (None, None)
                summed.append(Summary(*of, count, len(found.ratios), *value))
    return every, summed


def _losses(runs: Mapping[str, Mapping[int, Sequence[Point]]]) -> list[str]:
    points = [point for seeds in runs.values() for rows in seeds.values() for point in rows]
    averages = sorted({point.metric for point in points if is_average(point.metric)})
    return averages + [metric for metric in mean_metrics(points) if metric.endswith("/loss")]


def _of(seeds: Mapping[int, Sequence[Point]], metric: str) -> dict[int, list[tuple[int, float]]]:
    curves = {seed: curve(points, metric) for seed, points in seeds.items()}
    return {seed: points for seed, points in curves.items() if points}


def _knobs(config: DictConfig) -> dict[str, Any]:
    """Every knob that can change a result, the seeds aside."""
    return {knob: value for knob, value in flat(effective(config)).items() if knob not in SEEDS}


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], knob: str) -> bool:
    return one.get(knob) != other.get(knob)
