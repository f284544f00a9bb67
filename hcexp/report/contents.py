"""What a report holds, whatever it is written as."""

from dataclasses import dataclass

from hcexp.paper import Erratum, PaperTable
from hcexp.report.budgets import Budgets
from hcexp.report.costs import Costs
from hcexp.report.curves import Figure
from hcexp.report.matrices import Matrices
from hcexp.report.parts import Parts
from hcexp.report.ranking import Ranking
from hcexp.report.statistics import Estimate
from hcexp.study.sweep.sweep import Outcome, Sweep


@dataclass(frozen=True)
class Measure:
    """One metric of one row: over its seeds, and against the baseline, paired by seed.

    `agrees` says for each of the paper's loss columns whether both differences have the same sign; None
    where there is nothing to compare. It is empty for what is not a loss.
    """

    value: Estimate | None
    difference: Estimate | None
    agrees: dict[str, bool | None]


@dataclass(frozen=True)
class ReportRow:
    """One row of the sweep. `printed` is the paper's row ({} if none), from its Table `printed_in`."""

    label: str
    is_baseline: bool
    printed: dict[str, float | bool | str | None]
    printed_in: int | None
    finished: tuple[int, ...]
    asked: tuple[int, ...]
    measures: dict[str, Measure]

    @property
    def incomplete(self) -> bool:
        return len(self.finished) < len(self.asked)


@dataclass(frozen=True)
class Report:
    """The paper beside the measured.

    `suites` are those found in the metrics' names; `setup` the named facts of the runs; `statements` what
    the numbers say, `warnings` what speaks against comparing them; `unfinished` the points that have no result;
    `command` repeats the whole sweep. `looks` marks the suites, or downstream, that were not read whole; `parts` has
    what each of their sets and tasks gave. `rankings` are by the mean loss of every suite, `budgets` on their curves.
    """

    sweep: Sweep
    scale: str
    paper: PaperTable | None
    errata: tuple[Erratum, ...]
    suites: tuple[str, ...]
    rows: tuple[ReportRow, ...]
    setup: tuple[tuple[str, str], ...]
    statements: tuple[str, ...]
    warnings: tuple[str, ...]
    unfinished: tuple[Outcome, ...]
    outcomes: tuple[Outcome, ...]
    command: str
    figures: tuple[Figure, ...]
    costs: Costs
    looks: dict[str, str]
    parts: tuple[Parts, ...]
    rankings: tuple[Ranking, ...]
    budgets: tuple[Budgets, ...]
    matrices: Matrices

    @property
    def baseline(self) -> ReportRow:
        return next(row for row in self.rows if row.is_baseline)

    @property
    def tested_rankings(self) -> tuple[Ranking, ...]:
        """Those that are worth a table; of the others the statements say enough."""
        return tuple(ranking for ranking in self.rankings if ranking.tested)

    def ranked(self, ranking: Ranking) -> tuple[ReportRow, ...]:
        """The rows of a ranking, in its order."""
        by_label = {row.label: row for row in self.rows}
        return tuple(by_label[each.label] for each in ranking.rows)
