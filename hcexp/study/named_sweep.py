"""The sweep that a command line names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hcexp.configuration import compose, shipped
from hcexp.study.sweep.sweep import Sweep, report_folder
from hcexp.study.sweep.sweep_file import load_sweep
from hcexp.study.sweep.tuning import FILE
from hcexp.study.sweep.tuning import tuned as with_tuned


def named_sweep(
    word: str, overrides: Sequence[str] = (), *, seeds: tuple[int, ...] | None = None, tuned: str | None = None
) -> Sweep:
    """The sweep that a name or a path stands for, under these seeds in the place of its own.

    Its rows take `tuned` values: those of a search, by its name among the reports beside the runs, or of a file. The
    overrides choose the scale and the runs. Raises what `load_sweep` and `tuned` raise.
    """
    sweep = load_sweep(word, shipped("sweeps"))
    sweep = replace(sweep, seeds=seeds) if seeds else sweep
    if tuned is None:
        return sweep
    config, file = compose([*sweep.overrides, *overrides]), Path(tuned).expanduser()
    if file.suffix not in (".yaml", ".yml") and len(file.parts) == 1:
        file = report_folder(config.paths.runs, tuned, config.choices.scale) / FILE
    return with_tuned(sweep, file, config.choices.scale, overrides)
