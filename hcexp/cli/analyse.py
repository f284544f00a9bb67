"""Draw the paper's figures of trained language models: what their connections, streams and gradients do, and how they
got there.

Every figure is written as PNG and SVG, and its numbers as CSV, into `analysis` in the run's folder, and kept with the
run in MLflow. What is measured is measured on the beginnings of the run's own validation sets. A checkpoint that was
analysed is not analysed again, unless more or less is to be read; its curves are read anew.

Several runs also stand beside each other, in figures of their own. Runs that differ in nothing but their seed are one
line, and two of one seed are two, called by their data.seed, their code or their folder; the first run, or that of
--baseline, is what the others are compared with: the convergence ratio is the tokens of the baseline over those at
which another run first has the baseline's final loss, paired by seed.

example:
  hcexp analyse runs/0123456789abcdef
  hcexp analyse runs/0123456789abcdef runs/fedcba9876543210 --to figures
  hcexp analyse runs/0123456789abcdef/checkpoints/step=000100.ckpt --tokens 10000
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcexp.cli.arguments import parser, run_folder, whole
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from rich.console import Console

    from hcexp.analysis.written import Numbers
    from hcexp.cli.analysed import Amount, Subject

TOKENS = 2048
RUNS = "a run, by its folder or how its name begins; or a checkpoint"


def main(arguments: Sequence[str]) -> int:
    options = parser("analyse", __doc__)
    options.add_argument("runs", nargs="+", type=run_folder, metavar="RUN|CHECKPOINT", help=RUNS)
    options.add_argument("--to", type=Path, metavar="FOLDER", help="where to write (default: in the run's folder)")
    options.add_argument(
        "--baseline", type=run_folder, metavar="RUN", help="what the others are compared with: the first"
    )
    options.add_argument("--tokens", type=whole, default=TOKENS, help=f"tokens a validation set (default: {TOKENS})")
    options.add_argument("--documents", type=whole, help="documents a validation set (default: all)")
    chosen = options.parse_intermixed_args(arguments)
    quiet()
    from rich.console import Console

    from hcexp.cli.analysed import Amount, opened
    from hcexp.run.folder import names

    paths = [*([chosen.baseline] if chosen.baseline else []), *chosen.runs]
    paths = list({path.resolve(): path for path in paths}.values())
    # Whatever is wrong with any of the runs is found before the first is analysed.
    checkpoints = [opened(path) for path in paths]
    called = _called(checkpoints, paths)
    amount, console = Amount(chosen.documents, chosen.tokens), Console()
    folders = [
        _folder(one, name, chosen.to, alone=len(checkpoints) == 1)
        for one, name in zip(checkpoints, names([one.run for one in checkpoints]), strict=True)
    ]
    numbers = [
        _analyse(one, label, folder, amount, console)
        for one, label, folder in zip(checkpoints, called, folders, strict=True)
    ]
    if len(checkpoints) > 1:
        _compare(checkpoints, called, numbers, chosen.to or folders[0] / _compared(checkpoints), console)
    return 0


def analyse_runs(runs: Iterable[Path], console: "Console", tokens: int = TOKENS) -> None:
    """Analyse the newest checkpoint of each of these runs, given by their folders, unless that was done before.

    A report reads their connection matrices there: `hcexp.analysis.read_connections(run / "analysis")`. What cannot be
    analysed, as a run without a checkpoint, is named and left out.
    """
    from hcexp.cli.analysed import Amount, opened
    from hcexp.cli.together import name

    for run in runs:
        try:
            one = opened(run)
            _analyse(one, name(one.trained.config), one.run / one.name, Amount(None, tokens), console)
        except (OSError, ValueError) as error:
            console.print(f"not analysed: {error}", highlight=False, markup=False, soft_wrap=True)


def _called(checkpoints: "Sequence[Subject]", paths: Sequence[Path]) -> list[str]:
    """What a figure calls each of them; raises ValueError if two are one run at one step."""
    from hcexp.cli.together import labels, repeated, told_apart
    from hcexp.run.folder import RunFolder, origins

    configs, runs = [one.trained.config for one in checkpoints], [one.run for one in checkpoints]
    called = told_apart(
        labels(configs, [one.trained.step for one in checkpoints]),
        configs,
        [f"code {made[:8]}" if (made := RunFolder(run).code) else "" for run in runs],
        [f"in {origin}" for origin in origins(runs)],
        [run.resolve().name for run in runs],
    )
    if twice := repeated(called, [config.seed for config in configs]):
        both = " and ".join(str(paths[place]) for place in twice)
        raise ValueError(f"{both} are one run at one step: name one of them")
    return called


def _analyse(one: "Subject", label: str, folder: Path, amount: "Amount", console: "Console") -> "Numbers":
    """The numbers of a checkpoint, written and drawn in the folder unless they are there."""
    from hcexp.analysis.written import read_about, read_numbers, write_about, write_numbers
    from hcexp.cli.analysed import about, analysed, curves
    from hcexp.cli.drawn import draw_alone

    wanted, there = about(one, amount), read_about(folder)
    before = read_numbers(folder) if there == wanted else None
    numbers = before or analysed(one, amount)
    recorded = curves(one, [row.layer for row in numbers.gradients if row.at == "checkpoint"])
    if before is None or len(recorded) > len(before.curves):  # a store that does not answer takes nothing away
        numbers = numbers._replace(curves=recorded)
    if numbers == before and there.tracked:
        _say(console, f"{one.run}: {label}, {one.step}, analysed before: {folder}")
        return numbers
    files = [*write_numbers(folder, numbers), *draw_alone(numbers, label, one.trained.config.seed, folder)]
    tracked = _record(one, files, one.name)
    write_about(folder, replace(wanted, tracked=tracked))
    without = "" if any(point.metric == "train/loss" for point in numbers.curves) else ", none of the training loss"
    drawn = sum(path.suffix == ".png" for path in files)
    _say(console, f"{one.run}: {label}, {one.step}, {drawn} figures{without}: {folder}")
    return numbers


def _compare(
    checkpoints: Sequence["Subject"],
    called: Sequence[str],
    numbers: Sequence["Numbers"],
    folder: Path,
    console: "Console",
) -> None:
    """The figures of all of them, in a folder of their own, kept with the first run too."""
    from hcexp.cli.drawn import draw, draw_convergence
    from hcexp.cli.together import caveat, ratios
    from hcexp.run.folder import RunFolder

    groups: dict[str, dict[int, Numbers]] = {}
    for one, label, found in zip(checkpoints, called, numbers, strict=True):
        groups.setdefault(label, {})[one.trained.config.seed] = found
    folder.mkdir(parents=True, exist_ok=True)
    curves = {label: {seed: of_one.curves for seed, of_one in of.items()} for label, of in groups.items()}
    for one, label in zip(checkpoints, called, strict=True):
        if label == called[0] and not RunFolder(one.run).is_finished:
            del curves[label][one.trained.config.seed]
            _say(console, f"no convergence ratio over {one.run}: it is not finished, and has no final loss")
    every, means = ratios(curves)
    against = caveat(checkpoints[0].trained.config)
    files = [*draw(groups, folder), *draw_convergence(every, means, folder, against)]
    _record(checkpoints[0], files, f"{checkpoints[0].name}/{_compared(checkpoints)}")
    for one in means:
        width = f" ± {one.half_width:.2f} (95 %, {one.seeds} seeds)" if one.half_width is not None else ""
        reached = f"{one.ratio:.2f}×{width}" if one.ratio is not None else "not reached"
        if one.at_least is not None:
            reached = f"at least {one.at_least:.2f}×, for it was below that loss at the first point of its curve"
        if 1 < one.seeds != one.reached:
            reached += f" by {one.seeds - one.reached} of {one.seeds} seeds"
        _say(console, f"convergence ratio of {one.variant} over {one.baseline}, {one.metric}: {reached}")
    if means and against:
        _say(console, against)
    _say(console, f"{len(checkpoints)} runs beside each other: {folder}")


def _folder(one: "Subject", name: str, to: Path | None, *, alone: bool) -> Path:
    """Where the analysis of one checkpoint goes: with several, each has a folder in that of --to."""
    if to is None:
        return one.run / one.name
    return to if alone else to / "-".join([name, *Path(one.name).parts[1:]])


def _compared(checkpoints: Sequence["Subject"]) -> str:
    """A name for these checkpoints together."""
    from hcexp.disk.checksum import checksum
    from hcexp.run.folder import names

    steps = [one.trained.step for one in checkpoints]
    of = list(zip(names([one.run for one in checkpoints]), steps, strict=True))
    return f"compared-{checksum(of)[:8]}"


def _record(one: "Subject", files: Sequence[Path], folder: str) -> bool:
    """Keep the files with the run in MLflow; where it was not tracked there is nothing to do, and that is well."""
    from hcexp.run.folder import RunFolder
    from hcexp.run.history import store_of
    from hcexp.tracking import add_files

    identity = RunFolder(one.run).run_id
    return not identity or add_files(store_of(one.run, one.trained.config), identity, files, folder)


def _say(console: "Console", line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
