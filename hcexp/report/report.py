"""A report: from the outcomes of a sweep to what every format of it says."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcexp.report.budgets import Budgets, budgets
from hcexp.report.costs import Costs, costs
from hcexp.report.curves import curves
from hcexp.report.findings import answer, findings, noise
from hcexp.report.looks import marked
from hcexp.report.matrices import Matrices, matrices
from hcexp.report.provenance import setup, warnings
from hcexp.report.results import Results
from hcexp.report.sections.breakdown import breakdown_tables
from hcexp.report.sections.budgets import budget_table
from hcexp.report.sections.contrasts import contrast_table
from hcexp.report.sections.cost import cost_table
from hcexp.report.sections.main import main_table
from hcexp.report.sections.verdict import verdict_table
from hcexp.report.suites import MEAN_LOSS, title
from hcexp.study.sweep.sweep import Outcome, Sweep
from hcexp.tables.format import count
from hcexp.tables.table import Table

# What of the set-up stands at the beginning; the rest, what the runs were made by, at the end.
FACTS = ("parameters", "tokens", "steps", "learning rate", "evaluated on", "seeds", "hardware")


@dataclass(frozen=True)
class Section:
    """A title and what stands below it: tables, each `folded` under its own title or not, and sentences.

    `drawing` names what a page draws there, `curves` or `matrices`. A table for a paper is `printed` in LaTeX too.
    """

    title: str
    tables: tuple[Table, ...] = ()
    sentences: tuple[str, ...] = ()
    folded: bool = False
    drawing: str = ""
    printed: bool = False


@dataclass(frozen=True)
class Report:
    """A sweep's results at one scale, in the order in which they are read.

    `answer` says in a few sentences which rows are better than the baseline, `warnings` what speaks against comparing
    them, `noise` how large the noise of the seed is. `facts` is what the runs were made with and `made_by` by what, as
    names and texts. `command` repeats the whole sweep, each of `commands` a run. `curves` and `matrices` are what a
    page draws; `results`, `costs` and `budgets` what all was made of.
    """

    title: str
    question: str
    subtitle: str
    answer: tuple[str, ...]
    warnings: tuple[str, ...]
    noise: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    made_by: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    command: str
    commands: tuple[str, ...]
    curves: dict[str, Any]
    matrices: Matrices
    results: Results
    costs: Costs
    budgets: tuple[Budgets, ...]

    @property
    def main(self) -> Table:
        """The paper beside the measured."""
        return next(section.tables[0] for section in self.sections if section.tables)


def build(
    sweep: Sweep,
    outcomes: Sequence[Outcome],
    scale: str,
    command: str = "",
    folder: Path | None = None,
) -> Report:
    """The report of a sweep at one scale.

    A row of which some seeds failed or are missing uses those that finished. A point without an outcome counts as
    missing. `command` is the line that repeats the sweep; the default is right for a sweep of `sweeps/` without further
    overrides. If `hcexp cost --sweep` left its measurements in the report's `folder`, they are among its costs; the
    reports of the sweep at other scales, which lie beside it, have a part in the verdict.

    Raises ValueError if an outcome is of no point of the sweep, or the second of one.
    """
    results = Results(sweep, outcomes)
    known, facts, connections = costs(results, folder), setup(results, scale), matrices(results)
    at_budgets = budgets(results, known)
    return Report(
        title=sweep.title,
        question=sweep.question,
        subtitle=_subtitle(results, scale),
        answer=answer(results, at_budgets),
        warnings=warnings(results),
        noise=tuple(noise(results)),
        facts=tuple(fact for fact in facts if fact[0] in FACTS),
        made_by=tuple(fact for fact in facts if fact[0] not in FACTS),
        sections=tuple(_sections(results, known, at_budgets, connections, scale, folder)),
        command=command or _command(sweep, scale),
        commands=tuple(outcome.command for outcome in results.outcomes if outcome.command),
        curves=curves(results),
        matrices=connections,
        results=results,
        costs=known,
        budgets=at_budgets,
    )


def _sections(
    results: Results, costs: Costs, budgets: Sequence[Budgets], connections: Matrices, scale: str, folder: Path | None
) -> list[Section]:
    """In the order of reading; a section without anything in it is left out."""
    main = main_table(results)
    at_budgets = [budget_table(results, each, scale) for each in budgets]
    verdicts = [verdict_table(results, each, scale, folder) for each in budgets]
    planned = [contrast_table(results, f"{suite}{MEAN_LOSS}") for suite in results.suites]
    sections = [
        Section("Curves", drawing="curves"),
        Section(main.title, (main,), printed=True),
        Section("What the numbers say", sentences=findings(results)),
        *(Section(table.title, (table,), printed=True) for table in verdicts if table),
        *(Section(table.title, (table,), printed=True) for table in at_budgets),
        *(Section(table.title, (table,)) for table in planned if table),
        Section("Sets and tasks", breakdown_tables(results), folded=True),
        Section("Cost", (cost_table(results, costs, scale),) if costs.known else ()),
        Section("Connection matrices", sentences=connections.remarks, drawing="matrices" if connections.rows else ""),
        Section("Not finished", sentences=results.unfinished),
        Section("The paper's errata", sentences=tuple(map(str, results.errata))),
    ]
    return [section for section in sections if section.tables or section.sentences or section.drawing]


def _subtitle(results: Results, scale: str) -> str:
    """Which table, which scale, which suites, how many seeds."""
    table, looks = results.sweep.table, results.looks
    suites = [marked(f"{title(suite)} suite", looks.get(suite)) for suite in results.suites]
    return " · ".join(
        (
            f"sweep {results.sweep.name}",
            "no table of the paper" if table is None else f"Table {table} of the paper",
            f"scale {scale}",
            ", ".join(suites) or "no suite evaluated",
            count(len(results.sweep.seeds), "seed"),
        )
    )


def _command(sweep: Sweep, scale: str) -> str:
    number = len(sweep.seeds)
    # SEEDS=3 stands for 0, 1, 2; any other choice is written out, and a comma makes a single one a list.
    seeds = str(number) if sweep.seeds == tuple(range(number)) else ",".join(map(str, sweep.seeds))
    seeds += "," if number == 1 and sweep.seeds != (0,) else ""
    return shlex.join(["make", "sweep", f"SWEEP={sweep.name}", f"SCALE={scale}", f"SEEDS={seeds}"])
