"""Which metrics a report shows, and what each is called. Nothing is called V2 or V3 that is not."""

from collections.abc import Iterable

from hcexp.paper import LOSSES

# The paper's suites first, as it prints them; any other after these, by name.
ORDER = ("v2", "v3", "corpus", "local")
NAMES = {"v2": "V2", "v3": "V3"}

# The paper's columns that hold a loss, and so a direction.
PAPER_LOSS = dict(zip(LOSSES, ("V2 loss", "V3 loss"), strict=True))

# Of `<suite>/mean/…`: what its column is called, and its decimals.
MEASURES = {"loss": ("loss", 3), "perplexity": ("ppl", 2), "bits_per_byte": ("bits/byte", 3)}

# Likewise of `downstream/<task>/…`; what is bits per byte here is that of the right answers.
DOWNSTREAM = "downstream"
TASK_MEASURES = {"accuracy": ("accuracy %", 1), "bits_per_byte": ("bits/byte", 3)}

MEAN_LOSS = "/mean/loss"
TRAINING = "train/loss_ema"  # and the digits of the decay

MEAN = "mean"
ACCURACY = "downstream/mean/accuracy"
SPIKES = "train/spikes"
SPIKE_SCORE = "train/spike_score"
RUN_METRICS = (SPIKES, SPIKE_SCORE, ACCURACY)


def suites(metrics: Iterable[str]) -> tuple[str, ...]:
    """The suites with a mean loss among the metrics."""
    found = {name.removesuffix(MEAN_LOSS) for name in metrics if name.endswith(MEAN_LOSS) and name.count("/") == 2}
    return tuple(sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)))


def benchmarks(metrics: Iterable[str]) -> tuple[str, ...]:
    """The suites, and downstream if a task was scored."""
    scored = any(name.startswith(f"{DOWNSTREAM}/") for name in metrics)
    return (*suites(metrics), DOWNSTREAM) if scored else suites(metrics)


def part_names(metrics: Iterable[str], benchmark: str, measure: str) -> list[str]:
    """The sets or tasks, and perhaps `mean`, that have such a measure: the middle of `<benchmark>/<name>/<measure>`."""
    start, end = f"{benchmark}/", f"/{measure}"
    return [name[len(start) : -len(end)] for name in metrics if name.startswith(start) and name.endswith(end)]


def title(suite: str) -> str:
    """What a suite is called in a header: V2 and V3 for these two alone."""
    return NAMES.get(suite, suite)


def loss_name(metric: str) -> str:
    """What the loss is called that a metric is: `V3 loss` of `v3/mean/loss`."""
    return "smoothed training loss" if metric.startswith(TRAINING) else f"{title(metric.split('/')[0])} loss"


def measure(benchmark: str, name: str) -> tuple[str, int]:
    """What a measure of a suite, or of downstream, is called in a header, and its decimals."""
    return (TASK_MEASURES if benchmark == DOWNSTREAM else MEASURES)[name]


def compared(metric: str) -> tuple[str, ...]:
    """The paper's loss columns that the sign of a metric is compared with; none for what is not a mean loss.

    The V2 suite is compared with the paper's V2 loss and V3 with V3; a suite that the paper does not have
    with both.
    """
    suite, _, rest = metric.partition("/")
    if rest != "mean/loss":
        return ()
    return (f"{suite}_loss",) if f"{suite}_loss" in LOSSES else LOSSES
