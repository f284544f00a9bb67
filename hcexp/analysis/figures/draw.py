"""The figures of one analysis, and of several beside each other, with the files that they are in."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from hcexp.analysis import figures
from hcexp.analysis.convergence import Ratio, Summary
from hcexp.analysis.curves import mean_metrics, part_metrics, together
from hcexp.analysis.figures.gradients import PREFIX
from hcexp.analysis.folder import write_table
from hcexp.analysis.tables import Numbers, connections

Groups = Mapping[str, Mapping[int, Numbers]]


def draw(groups: Groups, folder: Path) -> list[Path]:
    """Every figure that there are numbers for, of runs by label and seed; returns the files.

    Of a label with several seeds the curves are drawn of all, and everything else of the first.
    """
    firsts = {label: next(iter(seeds.values())) for label, seeds in groups.items()}
    points = {label: {seed: one.curves for seed, one in seeds.items()} for label, seeds in groups.items()}
    files: list[Path] = []

    def add(name: str, make: Callable, *arguments) -> None:
        files.extend(figures.save(make(*arguments), folder, name))

    matrices = {label: connections(one.connections, one.sublayers) for label, one in firsts.items()}
    add("connections", figures.connections, matrices)
    if not all(one.similarity.empty for one in firsts.values()):
        add("similarity", figures.similarity, {label: one.similarity for label, one in firsts.items()})
    for name in ("gains", "streams", "ranks", "gradients"):
        add(name, getattr(figures, name), {label: getattr(one, name) for label, one in firsts.items()})
    every = together(points)
    metrics = part_metrics(every)
    if (every["metric"] == "train/loss").any() or mean_metrics(every):
        add("training", figures.training, points)
    if sets := [metric for metric in metrics if metric.endswith("/loss")]:
        add("sets", figures.parts, points, sets)
    if tasks := [metric for metric in metrics if metric.endswith("/accuracy")]:
        add("tasks", figures.parts, points, tasks)
    return files


def draw_alone(numbers: Numbers, label: str, seed: int, folder: Path) -> list[Path]:
    """The figures of one run, with those that several cannot share."""
    files = draw({label: {seed: numbers}}, folder)
    files += figures.save(figures.coefficients(numbers.coefficient_bins), folder, "coefficients")
    if numbers.curves["metric"].str.startswith(PREFIX).any():
        files += figures.save(figures.gradients_in_training(numbers.curves), folder, "gradients_in_training")
    return files


def draw_convergence(ratios: Sequence[Ratio], summaries: Sequence[Summary], folder: Path, caveat: str) -> list[Path]:
    """The convergence ratios and their means, as tables and a figure that says the caveat; nothing of none."""
    if not summaries:
        return []
    named = {"convergence": ratios, "convergence_mean": summaries}
    tables = [write_table(folder / f"{name}.csv", pd.DataFrame(rows)) for name, rows in named.items()]
    return [*tables, *figures.save(figures.convergence(ratios, summaries, caveat), folder, "convergence")]
