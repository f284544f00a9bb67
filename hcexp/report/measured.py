"""What `hcexp cost --sweep … measure=true` leaves beside a report, for the report to show."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = "cost.csv"


@dataclass(frozen=True)
class Measured:
    """One row's training step, timed in turn with the baseline's; ratios are over the baseline's.

    `seconds` is the median step; `step`, `step_low` and `step_high` the median of its ratio over rounds and the
    quartiles; `peak` the ratio of the peak memory. `parameters` says which model it was.
    """

    parameters: int
    seconds: float
    step: float
    step_low: float
    step_high: float
    tokens_per_second: float
    peak_bytes: float
    peak: float
    peak_by: str
    device: str
    compiled: str
    rounds: int
    command: str

    @property
    def step_uncertainty(self) -> float:
        """Half width of the 95 % interval of `step`: a median's, of rounds that scatter as the quartiles say.

        The quartiles of a normal distribution lie 1.349 deviations apart, and its median has 1.2533 times the standard
        error of its mean. It never takes the ratio to 0.
        """
        half = 1.96 * 1.2533 * (self.step_high - self.step_low) / 1.349 / math.sqrt(self.rounds)
        return min(half, 0.99 * self.step)


# The fields by their column's name in the file.
COLUMNS = {
    "parameters": "parameters",
    "seconds": "step seconds",
    "step": "step time over baseline",
    "step_low": "step time over baseline, lower quartile",
    "step_high": "step time over baseline, upper quartile",
    "tokens_per_second": "tokens per second",
    "peak_bytes": "peak memory bytes",
    "peak": "peak memory over baseline",
    "peak_by": "peak memory by",
    "device": "device",
    "compiled": "compiled",
    "rounds": "rounds",
    "command": "command",
}


def read_measured(folder: Path) -> Mapping[str, Measured]:
    """The measured rows by label, from `cost.csv` in a report's folder; none without that file.

    Raises ValueError, naming the file, for one that `hcexp cost` did not write.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file)
            if missing := {"row", *COLUMNS.values()} - set(lines.fieldnames or ()):
                raise ValueError(f"no column {min(missing)}")
            return {line["row"]: _measured(line) for line in lines}
    except (ValueError, TypeError, csv.Error) as error:  # TypeError: of a line that is too short
        raise ValueError(
            f"{path} is no table that hcexp cost --sweep with measure=true wrote ({error}): delete it, or measure again"
        ) from None


def _measured(line: Mapping[str, str]) -> Measured:
    values = {name: Measured.__annotations__[name](line[column]) for name, column in COLUMNS.items()}
    numbers = [value for value in values.values() if isinstance(value, float)]
    if not all(math.isfinite(value) and value > 0 for value in numbers):
        raise ValueError("a number that is not positive")
    return Measured(**values)
