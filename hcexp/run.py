"""One configuration in, one result out: identity, train, record."""

import hashlib
import json
import os
import shlex
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from shutil import which
from typing import Any

import lightning.pytorch as L
import torch
from filelock import FileLock, Timeout
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hcexp.callbacks import latest
from hcexp.configuration import shareable
from hcexp.export import OlmoWeights
from hcexp.tracking import public, record

RESULT = "result.json"

# What cannot change a run's result. Files, tokenizers and weights count by their content, as fingerprints.
WITHOUT_EFFECT = (
    "choices",
    "paths",
    "tracking",
    "callbacks.progress",
    "callbacks.checkpoint",
    "callbacks.throughput",
    "data.cache",
    "data.files",
    "data.mixture",
    "data.tokenizer",
    "data.verify",
    "data.workers",
    "downstream.batch_size",
    "downstream.tasks",
    "evaluation.batch_size",
    "evaluation.files",
    "evaluation.sets",
    "evaluation.source",
    "init_from",
)


def build_model(config: DictConfig) -> torch.nn.Module:
    """The network of a configuration, on the meta device: no memory, no weights yet."""
    with torch.device("meta"):
        return instantiate(config.model, residual=instantiate(config.residual))


class Run:
    """A configuration, and the folder `paths.runs/<identity>` that its run leaves.

    Raises ValueError, FileNotFoundError and the like, in one line, for a configuration that cannot run.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[str] = ()):
        self.config = config
        self.overrides = list(overrides)
        self.model = build_model(config)
        self.model.initial = OlmoWeights(config.init_from, config.model, self.model) if config.init_from else None
        self.data = instantiate(config.data)
        self.suite = instantiate(config.evaluation)
        self.downstream = instantiate(config.downstream)
        self.identity = self._identity()
        self.trainer: L.Trainer | None = None  # of this process, once it trains
        self.directory = Path(config.paths.runs) / self.identity

    def _identity(self) -> str:
        """Hash of the resolved configuration and the data's fingerprints, less what cannot change the result."""
        resolved = OmegaConf.to_container(self.config, resolve=True, throw_on_missing=True)
        for knob in WITHOUT_EFFECT:
            *parents, key = knob.split(".")
            reduce(lambda section, name: section[name], parents, resolved).pop(key, None)
        content = {
            "config": resolved,
            "data": self.data.fingerprint,
            "evaluation": self.suite.fingerprint,
            "downstream": self.downstream.fingerprint,
        }
        if self.model.initial:
            content["init_from"] = self.model.initial.checksum
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def result(self) -> dict[str, Any]:
        """What the run left: `state` is "finished", "failed" or, if there is nothing yet, "missing"."""
        try:
            return json.loads((self.directory / RESULT).read_text())
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{self.directory / RESULT} is damaged ({error}): delete it, and the run goes on"
            ) from None
        except FileNotFoundError:
            return {"identity": self.identity, "state": "missing", "error": None, "metrics": {}}

    def prepare(self) -> None:
        """Tokenise the training text and the validation sets, unless the cache has them, and find the tasks."""
        self.downstream.prepare(self.data.tokenizer, self.data.sequence_length)
        self.data.prepare_data()
        self.data.setup()
        self.suite.prepare(
            self.data.tokenizer, self.config.paths.cache, self.data.sequence_length, verify=self.data.verify
        )
        self.data.validation = self._validation

    def _validation(self, rank: int, world_size: int) -> list:
        """The loaders of the validation sets, then those of the tasks: as the objective expects them."""
        return self.suite.dataloaders(rank, world_size) + self.downstream.dataloaders(rank, world_size)

    def train(self) -> dict[str, Any]:
        """Train to the end and return the result; a finished run is not repeated, a broken one goes on.

        While another process is at the same run, this one waits.

        Raises:
            FloatingPointError: loss or gradient norm ceased to be finite.
            OSError: no room for a checkpoint.
            ConnectionError: the tracking server does not answer.
        """
        if rank_zero_only.rank:  # one of several processes at one run: the first of them holds the lock
            return self._train()
        self.directory.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.directory / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"another process is at the run {self.directory}: waiting for it", flush=True)
            lock.acquire()
        try:
            result = self.result()
            return result if result["state"] == "finished" else self._train()
        finally:
            self._remove_unstarted()
            lock.release()

    def _train(self) -> dict[str, Any]:
        config, directory = self.config, self.directory
        rank_zero_only((directory / RESULT).unlink)(missing_ok=True)  # of an attempt that failed
        if config.compile:
            require_compiler()
        L.seed_everything(config.seed, verbose=False)
        made_by = record()

        # Everything that can be wrong in the configuration is built before the tracking store hears of the run.
        self.prepare()
        objective = self._objective()
        callbacks = instantiate(config.callbacks, checkpoint={"folder": str(directory / "checkpoints")})
        tracked = directory / "tracking.json"
        logger = instantiate(
            config.tracking,
            runs=config.paths.runs,
            run_id=json.loads(tracked.read_text())["run_id"] if tracked.exists() else None,
        )
        rank_zero_only(OmegaConf.save)(OmegaConf.create(self._recorded()), directory / "config.yaml")
        try:
            logger.log_hyperparams(self._recorded())
            logger.log_record(made_by)
            logger.log_file(directory / "config.yaml")
            _write(tracked, {"run_id": logger.run_id})
            metrics = self._fit(objective, list(callbacks.values()), logger)
        except BaseException as error:
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                error = error.__context__  # Lightning makes an exit of Ctrl-C
            logger.fail(error)
            self._finish("failed", made_by, error=str(error).partition("\n")[0] or type(error).__name__)
            raise error
        return self._finish(
            "finished",
            made_by,
            metrics=metrics,
            steps=config.steps,
            tokens=config.steps * objective.tokens_per_step,
            parameters=sum(p.numel() for p in objective.model.parameters()),
            run_id=logger.run_id,
        )

    def _fit(self, objective: L.LightningModule, callbacks: list[L.Callback], logger: Logger) -> dict[str, float]:
        """Train from the newest checkpoint, or from the start, to the last step; returns and logs the final metrics."""
        checkpoints = self.directory / "checkpoints"
        self.trainer = trainer = instantiate(
            self.config.trainer,
            callbacks=callbacks,
            logger=logger,
            default_root_dir=str(self.directory),
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            check_val_every_n_epoch=None,
            val_check_interval=(self.suite.every or 0) * self.config.trainer.accumulate_grad_batches or None,
        )
        trainer.fit(objective, datamodule=self.data, ckpt_path=latest(checkpoints), weights_only=True)
        if trainer.global_step < self.config.steps:  # a limit of the trainer's own, or a signal, after which it exits
            raise ValueError(f"training ended at step {trainer.global_step} of steps={self.config.steps}")
        if objective.validated_step != trainer.global_step:
            trainer.validate(objective, datamodule=self.data, verbose=False, weights_only=True)
        metrics = dict(objective.validation)
        for callback in callbacks:
            metrics |= getattr(callback, "metrics", {})
        logger.log_metrics(metrics, step=trainer.global_step)
        logger.save()
        if checkpoint := latest(checkpoints):
            logger.log_checkpoint(checkpoint)
        return metrics

    def _recorded(self) -> dict[str, Any]:
        """The resolved configuration as it is written down: a tracking server's password is nobody's business."""
        resolved = OmegaConf.to_container(self.config, resolve=True)
        if resolved["tracking"].get("uri"):
            resolved["tracking"]["uri"] = public(resolved["tracking"]["uri"])
        return resolved

    def _remove_unstarted(self) -> None:
        """A run that could not start leaves no folder behind."""
        lock = self.directory / ".lock"
        if list(self.directory.iterdir()) == [lock]:
            lock.unlink()
            self.directory.rmdir()

    def _objective(self) -> L.LightningModule:
        config = self.config
        return instantiate(
            config.objective,
            model=self.model,
            optimizer=instantiate(config.optimizer),
            schedule=instantiate(config.schedule),
            suite=self.suite,
            downstream=self.downstream,
            seed=config.seed,
            tokens_per_step=self.data.batch_size * self.data.sequence_length,
            compile=config.compile,
        )

    def _finish(self, state: str, made_by: dict, **values: Any) -> dict[str, Any]:
        """The result file is written last, and is the only proof of success."""
        result = {
            "identity": self.identity,
            "state": state,
            "error": None,
            "metrics": {},
            "overrides": shareable(self.overrides),
            "seed": self.config.seed,
            **values,
            "record": made_by,
            "config": self._recorded(),
        }
        _write(self.directory / RESULT, result)
        return result


@rank_zero_only
def _write(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False))
    os.replace(partial, path)


def require_compiler() -> None:
    """Raise FileNotFoundError, in one line, if there is nothing that torch.compile could compile with."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))[-1]  # the last of `ccache g++`
    if not (which(compiler) or which("clang++")):
        raise FileNotFoundError(
            f"compile=true needs a C++ compiler, and {compiler} is not there: install g++, or set CXX"
        )
