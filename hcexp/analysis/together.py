"""Several checkpoints analysed, and the figures in which they stand beside each other."""

from collections.abc import Sequence
from pathlib import Path

from hcexp.analysis.checkpoint import Amount, Say, Subject, analyse, opened, record
from hcexp.analysis.convergence import caveat, in_words, ratios
from hcexp.analysis.figures.draw import draw, draw_convergence
from hcexp.analysis.tables import Numbers
from hcexp.disk.checksum import checksum
from hcexp.run.describe import labels, repeated, told_apart
from hcexp.run.folder import RunFolder, names, origins


def analyse_together(paths: Sequence[Path], amount: Amount, say: Say, to: Path | None = None) -> None:
    """Analyse runs and checkpoints, and draw several beside each other, over the first; what it does it says.

    Each is analysed in its run's folder, or in that of `to`. Whatever is wrong with any of them is found before the
    first is analysed. Raises ValueError if two are one run at one step, and what `opened` and `analyse` raise.
    """
    checkpoints = [opened(path) for path in paths]
    called, own = _called(checkpoints, paths), names([one.run for one in checkpoints])
    if to is None:
        folders = [one.run / one.name for one in checkpoints]
    elif len(checkpoints) == 1:
        folders = [to]
    else:
        folders = [to / "-".join([name, *Path(one.name).parts[1:]]) for one, name in zip(checkpoints, own, strict=True)]
    every = zip(checkpoints, called, folders, strict=True)
    numbers = [analyse(one, label, folder, amount, say) for one, label, folder in every]
    if len(checkpoints) > 1:
        steps = [one.trained.step for one in checkpoints]
        compared = f"compared-{checksum(list(zip(own, steps, strict=True)))[:8]}"
        folder = to or folders[0] / compared
        files = _draw(checkpoints, called, numbers, folder, say)
        record(checkpoints[0], files, f"{checkpoints[0].name}/{compared}")
        say(f"{len(checkpoints)} runs beside each other: {folder}")


def _called(checkpoints: Sequence[Subject], paths: Sequence[Path]) -> list[str]:
    """What a figure calls each of them; raises ValueError if two are one run at one step."""
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


def _draw(
    checkpoints: Sequence[Subject], called: Sequence[str], numbers: Sequence[Numbers], folder: Path, say: Say
) -> list[Path]:
    """The figures of all of them, and the convergence ratios, as files in the folder."""
    groups: dict[str, dict[int, Numbers]] = {}
    for one, label, found in zip(checkpoints, called, numbers, strict=True):
        groups.setdefault(label, {})[one.trained.config.seed] = found
    folder.mkdir(parents=True, exist_ok=True)
    curves = {label: {seed: of_one.curves for seed, of_one in of.items()} for label, of in groups.items()}
    for one, label in zip(checkpoints, called, strict=True):
        if label == called[0] and not RunFolder(one.run).is_finished:
            del curves[label][one.trained.config.seed]
            say(f"no convergence ratio over {one.run}: it is not finished, and has no final loss")
    every, means = ratios(curves)
    against = caveat(checkpoints[0].trained.config)
    files = [*draw(groups, folder), *draw_convergence(every, means, folder, against)]
    for line in map(in_words, means):
        say(line)
    if means and against:
        say(against)
    return files
