"""The grid of `hcexp train -m`, by Hydra's own sweeper and launcher."""

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import product
from math import nan
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities.exceptions import SIGTERMException
from omegaconf import DictConfig

from hcexp.cli.errors import explain
from hcexp.cli.quiet import quiet
from hcexp.configuration import compose, instantiate, parse, shareable, shipped, values
from hcexp.run.run import Run
from hcexp.tracking import open_store

# What Hydra would log and lay down beside the runs is in the runs' own folders.
SILENT = ("hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null", "hydra.sweep.subdir=.")
ENDED = ("finished", "pruned")
FAILED = "failed"  # in Hydra's folder: says that a run has, in whatever process, with whatever values a sweeper drew


def multirun(overrides: Sequence[str]) -> int:
    """Train every point of a grid; 1 if a run failed, which does not stop the others, else 0.

    Raises what `compose` and `Run` raise, and ValueError for runs of several processes, before the first one starts.
    """
    with initialize_config_dir(str(shipped("conf")), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
    # Outside of that context: every run composes for itself.
    search = [o for o in overrides if o.startswith("hydra.searchpath=")]
    runs = [_planned([*search, *point]) for point in points(overrides, hydra.config_loader)]
    config = runs[0].config if runs else compose([o for o in overrides if o.startswith(("paths.", "tracking"))])
    if "uri" in config.tracking:  # made here, or refused, before a launcher starts several runs at once
        open_store(config.tracking.uri, config.paths.runs, config.tracking.experiment)
    with _working_folder(Path(config.paths.runs)) as folder:
        try:
            place = "hydra.sweep.dir='{}'".format(str(folder).replace("'", r"\'"))
            hydra.multirun("train", train, [*SILENT, place, *overrides], with_log_configuration=False)
        except SIGTERMException:  # an exit of status 0
            print("hcexp: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
            return 128 + signal.SIGTERM
        failed = (folder / FAILED).exists()
    return 0 if not failed and all(run.result()["state"] in ENDED for run in runs) else 1


def points(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[list[str]]:
    """Every combination, in the order of Hydra's own sweeper; what configures Hydra itself has no part in it.

    The loader says what a `glob` matches.

    None at all where an override is a range of real numbers, from which a sweeper draws as it likes.
    """
    parsed = [o for o in parse(overrides, loader) if not of_hydra(o.input_line)]
    if any(o.is_sweep_override() and not o.is_discrete_sweep() for o in parsed):
        return []
    return [list(point) for point in product(*map(values, parsed))]


def of_hydra(override: str) -> bool:
    """Whether it configures Hydra: `hydra.searchpath=…`, `hydra/launcher=…`."""
    return override.lstrip("+~").startswith(("hydra.", "hydra/"))


def train(_: DictConfig) -> float:
    """One run of the grid, from the overrides that Hydra has for it; nan in place of its loss if it failed.

    The configuration is composed anew, so that the run is the one that the same overrides make alone.
    """
    quiet()
    hydra = HydraConfig.get()
    overrides = [*(o for o in hydra.overrides.hydra if o.startswith("hydra.searchpath=")), *hydra.overrides.task]
    said = shlex.join(shareable([o for o in overrides if not of_hydra(o)]))
    try:
        run = Run(compose(overrides), overrides)
        result = run.train()
    except Exception as error:
        line = explain(error, overrides)
        if line is None or os.environ.get("HCEXP_TRACEBACK"):
            traceback.print_exc()
        print(f"hcexp: failed: {said}: {line or error}", file=sys.stderr, flush=True)
        (Path(hydra.sweep.dir) / FAILED).touch()
        return nan
    names = ("train/loss", run.headline)
    losses = [f"{name} {result['metrics'][name]:.4f}" for name in names if name in result["metrics"]]
    print(f"{said}: {'  '.join([*losses, str(run.directory)])}", flush=True)
    return result["metrics"].get("train/loss", nan)


def _planned(overrides: list[str]) -> Run:
    """A run of the grid, not begun."""
    try:
        run = Run(compose(overrides), overrides)
        run.check()
        trainer = instantiate(run.config.trainer, logger=False, enable_checkpointing=False)
    except Exception as error:
        error.add_note(f"in the run {shlex.join(shareable(overrides))}")
        raise
    if trainer.world_size > 1:
        raise ValueError(
            f"-m has one process a run, and trainer.devices={run.config.trainer.devices} with "
            f"trainer.num_nodes={trainer.num_nodes} makes {trainer.world_size}: every one of them would go through "
            "the whole grid; use hcexp sweep, with the grid in a YAML file"
        )
    return run


@contextmanager
def _working_folder(runs: Path) -> Iterator[Path]:
    """A folder for Hydra among the runs; what a launcher leaves there stays, and nothing else.

    Nobody else may read it: Hydra writes the whole configuration there, a tracking server's password with it.
    """
    folder = runs.absolute() / f".multirun-{os.getpid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        for name in ("multirun.yaml", FAILED):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # what a launcher of a cluster keeps there
            folder.rmdir()
            runs.rmdir()
