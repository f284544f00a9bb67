"""The figure as JSON, for curves.js."""

from typing import Any

from hcexp.report.contents import Report
from hcexp.report.curves import Curve, Figure
from hcexp.report.looks import marked
from hcexp.report.suites import DOWNSTREAM, title

# With so many points, the first fifth of a loss is left out of the vertical range: it would take up nearly all of it.
MANY = 10


def figure_data(report: Report) -> dict[str, Any]:
    """The rows that have a curve, and the metrics to choose among; each metric has an entry for each row.

    Values have five digits after the point, and accuracies are in percent.
    """
    drawn = {row.label for figure in report.figures for row in figure.rows}
    labels = [row.label for row in report.rows if row.label in drawn]
    return {
        "rows": [{"label": label, "baseline": label == report.sweep.baseline} for label in labels],
        "metrics": [_metric(report, figure, labels) for figure in report.figures],
    }


def _metric(report: Report, figure: Figure, labels: list[str]) -> dict[str, Any]:
    share = figure.metric.endswith("/accuracy")
    by_label = {row.label: row for row in figure.rows}
    group, name, caption = _words(report, figure)
    longest = max(len(row.mean) for row in figure.rows)
    entries = []
    for label in labels:
        row = by_label.get(label)
        seeds = list(row.seeds.values()) if row and len(row.seeds) > 1 else []
        entries.append(
            {
                "mean": _points(row.mean if row else (), share),
                "difference": _points(row.difference if row else (), share),
                "seeds": [_points(curve, share) for curve in seeds],
            }
        )
    return {
        "group": group,
        "name": name,
        "caption": caption,
        "axis": figure.axis,
        "unit": "accuracy %" if share else "loss",
        "digits": 1 if share else 3,
        "skip": 0.0 if share or longest < MANY else 0.2,
        "rows": entries,
    }


def _words(report: Report, figure: Figure) -> tuple[str, str, str]:
    """The group that a metric is chosen from, its name there, and what it is."""
    benchmark, name, *_ = figure.metric.split("/")
    if benchmark == "train":
        decay = name.removeprefix("loss_ema")
        decay = decay if "e" in decay else f"0.{decay}"
        return "Training", "training loss", f"Training loss, exponential moving average ({decay})"
    if benchmark == DOWNSTREAM:
        what = "Mean accuracy of the downstream tasks" if name == "mean" else f"Accuracy of the task {name}"
        group = "Downstream accuracy"
    else:
        what = f"Mean loss of the {title(benchmark)} suite" if name == "mean" else f"Loss of {name}"
        what += "" if name == "mean" else f", {title(benchmark)} suite"
        group = f"{title(benchmark)} loss"
    look = report.looks.get(benchmark)
    return marked(group, look), f"{title(benchmark)} {name}", marked(what, look)


def _points(curve: Curve, share: bool) -> list[list[float]]:
    return [[x, round(100 * y if share else y, 5)] for x, y in curve]
