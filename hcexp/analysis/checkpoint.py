"""A checkpoint analysed, unless that was done before: what is measured of its weights, and what its run recorded."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from lightning.fabric.utilities import move_data_to_device
from omegaconf import DictConfig, open_dict
from torch import nn

from hcexp.analysis import survey
from hcexp.analysis.figures.draw import draw_alone
from hcexp.analysis.folder import Manifest, read_manifest, read_numbers, write_manifest, write_numbers
from hcexp.analysis.gradients import loss_gradient_norms
from hcexp.analysis.tables import Numbers, frame, numbers
from hcexp.callbacks.gradients import gradient_groups
from hcexp.configuration import instantiate
from hcexp.huggingface import OlmoWeights
from hcexp.objective import Objective
from hcexp.run import history
from hcexp.run.checkpoint import Checkpoint, read_checkpoint
from hcexp.run.describe import name
from hcexp.run.evaluate import data_of
from hcexp.run.folder import ANALYSIS, CONFIG, RunFolder
from hcexp.run.history import store_of
from hcexp.tracking import add_files

SUFFIX = ".ckpt"
TOKENS = 2048
Say = Callable[[str], object]


class Amount(NamedTuple):
    """How much of each validation set is read, from its beginning; None for all."""

    documents: int | None
    tokens: int | None


class Subject(NamedTuple):
    """What is analysed: a run's folder, and a checkpoint of it; its own folder among the run's is `name`."""

    run: Path
    trained: Checkpoint
    name: str

    @property
    def step(self) -> str:
        return f"step {self.trained.step:,} of {self.trained.config.steps:,}"


def opened(path: Path) -> Subject:
    """The newest checkpoint of a run's folder, which is analysed in `analysis` there; or one by its file, in
    `analysis/<its name>`.

    Raises what `read_checkpoint` raises.
    """
    run = path
    if path.is_file() or path.suffix == SUFFIX:
        if not path.exists():
            raise FileNotFoundError(f"{path}: there is no such checkpoint")
        run = next((folder for folder in path.resolve().parents if (folder / CONFIG).is_file()), path.parent)
    trained = read_checkpoint(run, None if run is path else path)
    return Subject(run, trained, ANALYSIS if run is path else f"{ANALYSIS}/{path.stem}")


def analyse(one: Subject, label: str, folder: Path, amount: Amount, say: Say) -> Numbers:
    """The numbers of a checkpoint, written and drawn in the folder unless they are there; what it does it says.

    Every figure is written as PNG and SVG, its numbers as CSV, and all of it is kept with the run in MLflow. Raises
    ValueError for weights of another network or that diverged, or sets that cannot be read.
    """
    wanted, there = _manifest(one, amount), read_manifest(folder)
    before = read_numbers(folder) if there == wanted else None
    found = before or _measured(one, amount)
    curves = _curves(one, found.gradients["layer"].unique())
    more = before is None or len(curves) > len(before.curves)  # a store that does not answer takes nothing away
    if more:
        found = found._replace(curves=curves)
    elif there.tracked:
        say(f"{one.run}: {label}, {one.step}, analysed before: {folder}")
        return found
    files = [*write_numbers(folder, found), *draw_alone(found, label, one.trained.config.seed, folder)]
    tracked = record(one, files, one.name)
    write_manifest(folder, replace(wanted, tracked=tracked))
    without = "" if (found.curves["metric"] == "train/loss").any() else ", none of the training loss"
    drawn = sum(path.suffix == ".png" for path in files)
    say(f"{one.run}: {label}, {one.step}, {drawn} figures{without}: {folder}")
    return found


def analyse_runs(runs: Iterable[Path], say: Say) -> None:
    """Analyse the newest checkpoint of each of these runs, given by their folders, unless that was done before.

    A report reads their connection matrices there: `hcexp.analysis.read_connections(run / "analysis")`. What cannot be
    analysed, as a run without a checkpoint, is named and left out.
    """
    for run in runs:
        try:
            one = opened(run)
            analyse(one, name(one.trained.config), one.run / one.name, Amount(None, TOKENS), say)
        except (OSError, ValueError) as error:
            say(f"not analysed: {error}")


def record(one: Subject, files: Sequence[Path], folder: str) -> bool:
    """Keep the files with the run in MLflow; where it was not tracked there is nothing to do, and that is well."""
    run_id = RunFolder(one.run).run_id
    return not run_id or add_files(store_of(one.run, one.trained.config), run_id, files, folder)


def _manifest(one: Subject, amount: Amount) -> Manifest:
    """What an analysis of this checkpoint is of."""
    config = _limited(one.trained.config, amount)
    suite = instantiate(config.evaluation)
    return Manifest(
        run=one.run.resolve().name,
        seed=config.seed,
        step=one.trained.step,
        checkpoint=one.trained.checksum(),
        suite=suite.name,
        sets=suite.parts,
        documents=config.evaluation.get("documents"),
        max_tokens=config.evaluation.get("max_tokens"),
    )


def _measured(one: Subject, amount: Amount) -> Numbers:
    """Every number of a checkpoint, on the run's own validation sets; in float32, on a GPU if there is one."""
    config = _limited(one.trained.config, amount)
    suite = instantiate(config.evaluation)
    suite.prepare(data_of(config), config.paths.cache)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = one.trained.model().to(device, torch.float32).eval()
    objective = instantiate(config.objective)
    batches = [move_data_to_device(sample, device) for sample in suite.samples()]
    try:
        found = survey(model, batches, objective)
    except ValueError as error:
        raise ValueError(f"{one.run}, {one.step}: {error}") from None
    return numbers(found)._replace(gradients=_gradients(model, objective, config, batches))


def _curves(one: Subject, layers: Iterable[str]) -> pd.DataFrame:
    """What the run recorded: see `history.curves`."""
    config = one.trained.config
    suite, tasks = instantiate(config.evaluation), instantiate(config.downstream).parts
    parts = [f"{suite.name}/{name}" for name in (*suite.parts, "mean")]
    parts += [f"downstream/{task}" for task in (*tasks, "mean")] if tasks else []
    return frame("curves", history.curves(one.run, config, parts, layers))


def _limited(config: DictConfig, amount: Amount) -> DictConfig:
    """The run's configuration, with no more read of each validation set than it read itself."""
    config = config.copy()
    for knob, value in (("documents", amount.documents), ("max_tokens", amount.tokens)):
        if knob not in config.evaluation:
            continue
        given = [number for number in (config.evaluation.get(knob), value) if number is not None]
        with open_dict(config):
            config.evaluation[knob] = min(given, default=None)
    return config


def _gradients(model: nn.Module, objective: Objective, config: DictConfig, batches: list[Any]) -> pd.DataFrame:
    """At the weights that training started from, which the model has afterwards, and at the checkpoint."""
    sizes = {layer: sum(p.numel() for p in group) for layer, group in gradient_groups(model).items()}

    def rows(at: str) -> list[tuple]:
        norms = loss_gradient_norms(model, objective, batches)
        return [(at, layer, sizes[layer], norm) for layer, norm in norms.items()]

    trained = rows("checkpoint")
    try:
        model.initial = OlmoWeights(config.init_from, config.model, model) if config.get("init_from") else None
        model.reset_parameters(config.seed)
    except OSError as error:
        warnings.warn(f"no gradients at the initial weights: init_from cannot be read ({error})", stacklevel=2)
        return frame("gradients", trained)
    return frame("gradients", [*rows("initial"), *trained])
