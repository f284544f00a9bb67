"""What a search has found: a line for every row of its sweep, and a line for every trial; in all its formats."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hcexp.disk.atomic import write_text
from hcexp.report.export import csv_text
from hcexp.report.render import search_markdown
from hcexp.report.suites import title
from hcexp.study.search.result import RowResult, TrialRecord
from hcexp.study.sweep.overrides import short, written
from hcexp.study.sweep.sweep import Sweep
from hcexp.study.sweep.tuning import FILE, tuned_text
from hcexp.tables.format import NOTHING, count, fixed
from hcexp.tables.table import Column, Table, lay_out
from hcexp.tables.terminal import show

ARROWS = {"lower": "↓", "upper": "↑"}  # beside a value that lies at this end of its range
ENDED = ("finished", "pruned", "failed")


@dataclass(frozen=True)
class SearchReport:
    """The searches of a sweep's rows at a scale, by the mean loss of `suite`; `command` repeats them."""

    sweep: Sweep
    scale: str
    suite: str
    found: Sequence[RowResult]
    command: str

    @property
    def subtitle(self) -> str:
        trials = count(self.sweep.search.trials, "trial")
        parts = (f"search {self.sweep.name}", f"scale {self.scale}", f"{trials} a row", f"seed {self.sweep.seeds[0]}")
        return " · ".join(parts)

    @property
    def loss(self) -> str:
        return f"{title(self.suite)} loss"

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Of every row its best values and their loss, the default ones and theirs, and how many trials ended how;
        None for what is not known. `end of …` is that end of a knob's range at which the best value lies, if it does.
        """
        return [self._row(found) for found in self.found]

    def _row(self, found: RowResult) -> dict[str, Any]:
        space, best, default = self.sweep.search, found.best, found.default
        names = short(space.knobs)
        of_best = best.values if best else {}
        of_default = default.values if default else {}
        default_loss = default.loss if default and default.state == "finished" else None
        return {
            "row": found.label,
            **{f"best {name}": of_best.get(knob) for knob, name in names.items()},
            **{f"end of {name}": best and space.end(knob, best.values[knob]) for knob, name in names.items()},
            self.loss: best and best.loss,
            **{f"default {name}": of_default.get(knob) for knob, name in names.items()},
            f"default's {self.loss}": default_loss,
            "change": None if default_loss is None or best is None else best.loss - default_loss,
            **{state: found.count(state) for state in ENDED},
        }

    @property
    def trials(self) -> list[dict[str, Any]]:
        """Of every trial its values, how it ended, and its loss, of a pruned one where it was pruned."""
        return [
            {
                "row": found.label,
                "trial": number,
                **{name: trial.values[knob] for knob, name in short(self.sweep.search.knobs).items()},
                "state": _ending(trial),
                self.loss: trial.loss,
                "run": trial.identity,
            }
            for found in self.found
            for number, trial in enumerate(found.trials)
        ]

    @property
    def table(self) -> Table:
        """The rows, with what a reader must know."""
        labels = [found.label for found in self.found]
        strong = labels.index(self.sweep.baseline) if self.sweep.baseline in labels else None
        return _table(self.sweep.title, self.rows, notes=tuple(self.notes), strong=strong)

    @property
    def trial_table(self) -> Table:
        return _table("Trials", self.trials)

    @property
    def notes(self) -> list[str]:
        """A sentence for everything that a reader of the table must know."""
        space, said = self.sweep.search, []
        left = {found.label: space.trials - sum(map(found.count, ENDED)) for found in self.found}
        if any(left.values()):
            said.append(f"Trials to be made yet: {', '.join(f'{label} {n}' for label, n in left.items() if n)}.")
        for found in self.found:
            for knob, value in found.best.values.items() if found.best else ():
                if end := space.end(knob, value):
                    low, high = space.knobs[knob]["low"], space.knobs[knob]["high"]
                    said.append(
                        f"{found.label}: the best {knob} lies at the {end} end of what was searched ({low:g} to "
                        f"{high:g}); there may be a better one beyond."
                    )
        tuned = f"--tuned {self.sweep.name}"
        said.append(f"One seed: what is more than its noise shows another sweep with {tuned}, under several seeds.")
        return said


def _ending(trial: TrialRecord) -> str:
    if trial.state == "pruned":
        return f"pruned at step {trial.step}"
    return f"failed: {trial.error}" if trial.state == "failed" else trial.state


def show_search(report: SearchReport, console: Console) -> None:
    """Print the table of the rows, and its notes."""
    console.print(Text(report.subtitle))
    show(report.table, console)


def write_search(report: SearchReport, folder: Path) -> list[Path]:
    """`search.md`, `search.csv`, `search-trials.csv` and `tuned.yaml` in `folder`, which is made; their paths."""
    texts = {
        "search.md": search_markdown(report),
        "search.csv": _csv(report.rows),
        "search-trials.csv": _csv(report.trials),
        FILE: tuned_text(report.sweep, report.scale, report.command, report.found),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    return csv_text(tuple(lines[0]) if lines else (), lines)


def _table(title: str, lines: Sequence[dict[str, Any]], **others: Any) -> Table:
    """A line as texts; that a value lies at an end of its range stands beside it."""
    names = [name for name in (lines[0] if lines else ()) if not name.startswith("end of ")]
    columns = [Column(name, side="right" if at else "left") for at, name in enumerate(names)]
    cells = [lambda line, name=name: _cell(line, name) for name in names]
    return lay_out(title, lines, zip(columns, cells, strict=True), **others)


def _cell(line: dict[str, Any], name: str) -> str:
    value = line[name]
    if value is None:
        return NOTHING
    if name == "change" or name.endswith("loss"):
        return fixed(value, 3, signed=name == "change")
    text = f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else written(value)
    end = line.get(f"end of {name.removeprefix('best ')}") if name.startswith("best ") else None
    return f"{text} {ARROWS[end]}" if end else text
