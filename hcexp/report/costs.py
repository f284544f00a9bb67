"""What the rows of a sweep cost: by count and formula, in the runs themselves, and as measured interleaved."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hcexp.analysis.statistics import Estimate, estimate
from hcexp.cost.benchmark import FILE, StepTiming, read_timings
from hcexp.cost.estimate import CostEstimate, NotCountableError, estimate_cost
from hcexp.report.results import Results
from hcexp.study.sweep.sweep import Outcome

SPEED, MEMORY = "perf/tokens_per_second", "perf/peak_memory_bytes"


@dataclass(frozen=True)
class RowCost:
    """Of one row. None: no run of it recorded that, or nobody measured.

    `speed` and `memory` are the tokens per second and the peak memory of its runs over those of the baseline's runs,
    paired by seed.
    """

    label: str
    is_baseline: bool
    predicted: CostEstimate | None
    speed: Estimate | None
    memory: Estimate | None
    measured: StepTiming | None = None


@dataclass(frozen=True)
class Costs:
    """Of all rows, in the sweep's order. `remarks` say what could not be used."""

    rows: tuple[RowCost, ...]
    remarks: tuple[str, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is anything to show."""
        return any(row.predicted or row.speed or row.memory for row in self.rows) or bool(self.remarks)

    @property
    def baseline(self) -> RowCost:
        return next(row for row in self.rows if row.is_baseline)


def costs(results: Results, folder: Path | None = None) -> Costs:
    """From the finished runs: what they measured of themselves, and what their recorded configuration costs.

    What `hcexp cost --sweep` left in the report's `folder` joins, as far as it is of the same models.
    """
    rows, remarks = [], []
    for label in results.labels:
        try:
            known = _predicted(results.runs(label))
        except NotCountableError as error:
            known = None
            remarks.append(_not_counted(label, str(error)))
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            known = None
            line = str(error).partition("\n")[0]
            remarks.append(f"{label}: today's code cannot build the model of its recorded configuration ({line}).")
        except Exception as error:  # a row's cost is never worth the report
            known = None
            remarks.append(_not_counted(label, f"{type(error).__name__}: {error}"))
        speed, memory = (_over_baseline(results, label, metric) for metric in (SPEED, MEMORY))
        rows.append(RowCost(label, label == results.baseline, known, speed, memory))
    found = Costs(tuple(rows), tuple(remarks))
    return _with_measured(found, folder) if folder else found


def _not_counted(label: str, why: str) -> str:
    return f"the cost of {label} could not be counted: {why.partition(chr(10))[0]}."


def _with_measured(known: Costs, folder: Path) -> Costs:
    """The same with what `hcexp cost --sweep` left in the report's folder, as far as it is of the same models."""
    try:
        found = read_timings(folder)
    except ValueError as error:
        return replace(known, remarks=(*known.remarks, f"{error}."))
    other = [row.label for row in known.rows if _of_another_model(row, found.get(row.label))]
    if not other:
        return replace(known, rows=tuple(replace(row, measured=found.get(row.label)) for row in known.rows))
    remark = f"{FILE} beside this report is of other models ({', '.join(other)}), and is left out."
    return replace(known, remarks=(*known.remarks, remark))


def _of_another_model(row: RowCost, measured: StepTiming | None) -> bool:
    return bool(row.predicted and measured and measured.parameters != row.predicted.parameters.total)


def _predicted(runs: Sequence[Outcome]) -> CostEstimate | None:
    """The cost of a row, from the configuration of any of its runs: its seeds differ in nothing that costs."""
    config = next((outcome.result["config"] for outcome in runs if outcome.result.get("config")), None)
    return None if config is None else estimate_cost(OmegaConf.create(config))


def _over_baseline(results: Results, label: str, metric: str) -> Estimate | None:
    base = results.values(results.baseline, metric)
    return estimate([own / base[seed] for seed, own in results.values(label, metric).items() if base.get(seed)])
