"""A run's training: from its newest checkpoint, or from the start, to its result."""

import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.rank_zero import rank_zero_warn
from omegaconf import OmegaConf

from hcexp.callbacks import StepCallback, at_step, to_go_on_from
from hcexp.callbacks.throughput import per_step
from hcexp.configuration import instantiate, shareable
from hcexp.data.batches import require_even
from hcexp.disk.atomic import write_json, write_text
from hcexp.run.folder import ATTEMPTS, CHECKPOINTS, CONFIG, IDENTITY, RESULT, RunFolder, mode
from hcexp.run.identity import differences, effective, listed, placement
from hcexp.run.module import TrainingModule
from hcexp.run.record import record
from hcexp.run.run import Run
from hcexp.tracking import headline_params, labels, public
from hcexp.tracking.logger import FileLogger

# Of the processes of one run, the first writes its files.
_write_json, _write_text = rank_zero_only(write_json), rank_zero_only(write_text)


def train(run: Run) -> dict[str, Any]:
    """Train a run whose lock is held; returns its result. Raises as `Run.train` does."""
    config, directory = run.config, run.directory
    _require_unchanged(run)
    _require_trainer(run)
    checkpoint = to_go_on_from(directory / CHECKPOINTS)
    rank_zero_only((directory / RESULT).unlink)(missing_ok=True)  # of an attempt that failed
    if config.compile:
        require_compiler()
    L.seed_everything(config.seed, verbose=False)
    made_by = record()

    # Everything that can be wrong in the configuration is built before the tracking store hears of the run.
    run.prepare()
    module = _module(run)
    callbacks = _callbacks(run)
    taken = _attempts(run, checkpoint, made_by)
    begun = {"record": made_by, "attempts": taken}
    logger = _logger(run, taken[-1]["step"])
    try:
        _write_json(directory / ATTEMPTS, taken)
        _write_json(directory / IDENTITY, run.content)
        recorded = _recorded(run)
        if run.named_by is config:
            _write_text(directory / CONFIG, OmegaConf.to_yaml(OmegaConf.create(recorded)))
        tags = {**made_by, **labels(recorded)}
        logger.tell(params=headline_params(recorded, run.overrides), tags=tags, file=directory / CONFIG)
        metrics = _fit(run, module, callbacks, logger, checkpoint)
        steps = run.trainer.global_step
        result = _finish(
            run,
            "finished" if steps == config.steps else "pruned",
            begun,
            metrics=metrics,
            steps=steps,
            tokens=steps * per_step(module)[1],
            parameters=sum(p.numel() for p in module.model.parameters()),
            run_id=logger.run_id,
        )
    except BaseException as error:
        if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
            error = error.__context__  # Lightning makes an exit of Ctrl-C
        logger.fail(error)
        with suppress(OSError):  # a full disk has no room for this either
            _finish(run, "failed", begun, error=str(error).partition("\n")[0] or type(error).__name__)
        raise error
    logger.close()
    return result


def _require_unchanged(run: Run) -> None:
    """Raise ValueError, in one line, if somebody has edited the configuration that the folder has its name of."""
    path = run.directory / CONFIG
    if run.named_by is not run.config or not path.exists():
        return
    if changed := differences(effective(RunFolder(run.directory).configuration), run.content["config"]):
        what = f"is not what this run was begun with: {listed(changed)}"
        raise ValueError(f"{path} {what}; restore it, or delete the folder")


def _require_trainer(run: Run) -> None:
    """Raise ValueError for a trainer that the steps or the batch do not fit; on the machine that is to train."""
    config = run.config
    if config.trainer.max_steps != config.steps:
        raise ValueError(f"trainer.max_steps={config.trainer.max_steps} is not steps={config.steps}: set steps alone")
    # One that only says how many processes there are going to be.
    trainer = instantiate(config.trainer, logger=False, enable_checkpointing=False)
    require_even(config.data.batch_size, trainer.world_size, trainer.accumulate_grad_batches)


def _attempts(run: Run, checkpoint: Path | None, made_by: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that have part in the result: the ones before whose steps are in `checkpoint`, and this one."""
    step = int(checkpoint.stem.partition("=")[2]) if checkpoint else 0
    before = [attempt for attempt in RunFolder(run.directory).attempts if attempt["step"] < step]
    if before and before[-1]["code"] != made_by["code"]:
        rank_zero_warn(f"the code has changed since this run's step {step}: its result will list both versions")
    made = {name: made_by[name] for name in ("code", "git", "hardware")}
    return [*before, {"step": step, **made, **placement(run.config), "overrides": shareable(run.overrides)}]


def _module(run: Run) -> TrainingModule:
    config = run.config
    return TrainingModule(
        run.model,
        instantiate(config.objective),
        instantiate(config.optimizer),
        instantiate(config.schedule),
        [run.suite, run.downstream],
        seed=config.seed,
        samples_per_step=run.data.batch_size,
        tokens_per_step=run.data.tokens_per_step,
        compile=config.compile,
    )


def _callbacks(run: Run) -> list[L.Callback]:
    callbacks = instantiate(run.config.callbacks, checkpoint={"folder": str(run.directory / CHECKPOINTS)})
    for name, callback in callbacks.items():
        if not isinstance(callback, L.Callback):
            raise ValueError(f"callbacks.{name}={callback} is no callback: to go without, write ~callbacks.{name}")
    return list(callbacks.values())


def _logger(run: Run, step: int) -> FileLogger:
    """The logger of a run that goes on from `step`, called in MLflow `dhc n=4, seed 0 · 946a9d60`, or by its row."""
    config = run.config
    name = config.tracking.get("run_name") or f"{mode(_recorded(run))}, seed {config.seed}"
    where = {"runs": config.paths.runs, "folder": str(run.directory), "step": step}
    return instantiate(config.tracking, run_name=f"{name} · {run.identity[:8]}", **where)


def _fit(
    run: Run, module: TrainingModule, callbacks: Sequence[L.Callback], logger: FileLogger, checkpoint: Path | None
) -> dict[str, float]:
    """Train from a checkpoint, or from the start, to the last step; returns and logs the final metrics."""
    config = run.config
    run.trainer = trainer = instantiate(
        config.trainer,
        callbacks=list(callbacks),
        logger=logger,
        default_root_dir=str(run.directory),
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        check_val_every_n_epoch=None,
        val_check_interval=(run.suite.every or 0) * config.trainer.accumulate_grad_batches or None,
    )
    loaders = run.loaders(trainer.global_rank, trainer.world_size)
    try:
        trainer.fit(module, run.data.train_loader(trainer), loaders, ckpt_path=checkpoint, weights_only=True)
    except RuntimeError as error:
        if "loading state_dict" not in str(error):
            raise
        raise ValueError(
            f"{checkpoint} is of another network than this code makes ({str(error).splitlines()[1].strip()}): "
            f"use the code that began the run, or delete {checkpoint.parent} to train from the start"
        ) from error
    watching = [callback for callback in callbacks if isinstance(callback, StepCallback)]
    pruned = trainer.global_step < config.steps and any(c.pruned for c in watching)
    if trainer.global_step < config.steps and not pruned:  # a limit of the trainer's own, or a signal
        raise ValueError(f"training ended at step {trainer.global_step} of steps={config.steps}")
    if module.validated_step != trainer.global_step:
        trainer.validate(module, loaders, verbose=False, weights_only=True)
    metrics = dict(module.validation)
    for callback in watching:
        metrics |= callback.metrics
    if pruned:  # it may go on, and then has no points here that an uninterrupted run would not have
        logger.tell(tags={"pruned": trainer.global_step})
    else:
        logger.log_metrics(metrics, step=trainer.global_step)
    logger.save()
    if checkpoint := at_step(run.directory / CHECKPOINTS, trainer.global_step):
        logger.tell(checkpoint=checkpoint)
    return metrics


def _recorded(run: Run) -> dict[str, Any]:
    """The resolved configuration as it is written down: a tracking server's password is nobody's business."""
    resolved = OmegaConf.to_container(run.named_by, resolve=True)
    if resolved["tracking"].get("uri"):
        resolved["tracking"]["uri"] = public(resolved["tracking"]["uri"])
    return resolved


def _finish(run: Run, state: str, begun: dict, **values: Any) -> dict[str, Any]:
    """The result file is written last, and is the only proof of success."""
    result = {
        "identity": run.identity,
        "state": state,
        "error": None,
        "metrics": {},
        "overrides": shareable(run.overrides),
        "seed": run.config.seed,
        **values,
        **begun,
        "config": _recorded(run),
    }
    _write_json(run.directory / RESULT, result)
    return result


def require_compiler() -> None:
    """Raise FileNotFoundError, in one line, if there is nothing that torch.compile could compile with."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))[-1]  # the last of `ccache g++`
    if not (which(compiler) or which("clang++")):
        raise FileNotFoundError(
            f"compile=true needs a C++ compiler, and {compiler} is not there: install g++, or set CXX"
        )
