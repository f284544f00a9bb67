"""One configuration in, one result out: identity, train, record."""

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

import lightning.pytorch as L
from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf

from hcexp.callbacks import at_step, to_go_on_from
from hcexp.configuration import build_model, shareable
from hcexp.data.loader import require_even
from hcexp.disk.atomic import write_json, write_text
from hcexp.huggingface import OlmoWeights
from hcexp.run.attempts import ATTEMPTS, attempts
from hcexp.run.identity import differences, effective, hashed, listed, load_config
from hcexp.run.lock import locked
from hcexp.run.module import TrainingModule
from hcexp.run.record import record
from hcexp.tracking import labels, public, send_unsent, store_uri, telling

RESULT = "result.json"
CONFIG = "config.yaml"  # the resolved configuration
HASHED = "identity.json"  # what the folder's name is the hash of

# Of the processes of one run, the first writes its files.
_write_json, _write_text = rank_zero_only(write_json), rank_zero_only(write_text)


class Run:
    """A configuration, and the folder `paths.runs/<identity>` that its run leaves.

    Raises ValueError, FileNotFoundError and the like, in one line, for a configuration that cannot run.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[str] = (), recorded: DictConfig | None = None):
        """`recorded`: the configuration that the run has its name of, where it goes on with another one, `config`."""
        self.config = config
        self.overrides = list(overrides)
        self.recorded = recorded
        self.model = build_model(config)
        self.model.initial = OlmoWeights(config.init_from, config.model, self.model) if config.init_from else None
        self.data = instantiate(config.data)
        self.suite = instantiate(config.evaluation)
        self.downstream = instantiate(config.downstream)
        self.content = self._content()
        self.identity = hashed(self.content)
        self.trainer: L.Trainer | None = None  # of this process, once it trains
        self.directory = Path(config.paths.runs) / self.identity

    def _content(self) -> dict[str, Any]:
        """What the identity is the hash of: the configuration, and the fingerprints of the data."""
        content = {
            "config": effective(self.config if self.recorded is None else self.recorded),
            "data": self.data.fingerprint,
            "evaluation": self.suite.fingerprint,
            "downstream": self.downstream.fingerprint,
        }
        if self.model.initial:
            content["init_from"] = self.model.initial.checksum
        return content

    def result(self) -> dict[str, Any]:
        """What the run left: `state` is "finished", "failed", "pruned" or, if there is nothing yet, "missing"."""
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

    def _require_trainer(self) -> None:
        """Raise ValueError for a trainer that the steps or the batch do not fit; on the machine that is to train."""
        config = self.config
        if config.trainer.max_steps != config.steps:
            raise ValueError(
                f"trainer.max_steps={config.trainer.max_steps} is not steps={config.steps}: set steps alone"
            )
        # One that only says how many processes there are going to be.
        trainer = instantiate(config.trainer, logger=False, enable_checkpointing=False)
        require_even(config.data.batch_size, trainer.world_size, trainer.accumulate_grad_batches)

    def _validation(self, rank: int, world_size: int) -> list:
        """The loaders of the validation sets, then those of the tasks: as the objective expects them."""
        return self.suite.dataloaders(rank, world_size) + self.downstream.dataloaders(rank, world_size)

    def train(self) -> dict[str, Any]:
        """Train to the end and return the result; a finished run is not repeated, a broken or pruned one goes on.

        While another process is at the same run, this one waits.

        Raises:
            FloatingPointError: loss or gradient norm ceased to be finite.
            OSError: no room for a checkpoint.
            ConnectionError: the tracking server does not answer.
            ValueError: another process is at the run, and this is one of several started together, which would
                wait for it at their rendezvous until that gives up.
        """
        with locked(self.directory):
            result = self.result()
            if result["state"] != "finished":
                return self._train()
            self.send_unsent()
            return result

    def send_unsent(self) -> None:
        """Tell MLflow what a finished run could not, because the store was away; warns if it still is."""
        result = self.result()
        if result["state"] == "finished" and result.get("run_id") and "uri" in self.config.tracking:
            uri = store_uri(self.config.tracking.uri, self.config.paths.runs)
            rank_zero_only(send_unsent)(uri, result["run_id"], self.directory)

    def _train(self) -> dict[str, Any]:
        config, directory = self.config, self.directory
        self._require_unchanged()
        self._require_trainer()
        checkpoint = to_go_on_from(directory / "checkpoints")
        rank_zero_only((directory / RESULT).unlink)(missing_ok=True)  # of an attempt that failed
        if config.compile:
            require_compiler()
        L.seed_everything(config.seed, verbose=False)
        made_by = record()

        # Everything that can be wrong in the configuration is built before the tracking store hears of the run.
        self.prepare()
        objective = self._objective()
        callbacks = self._callbacks()
        tracked = directory / "tracking.json"
        run_id = json.loads(tracked.read_text())["run_id"] or None if tracked.exists() else None
        logger = instantiate(config.tracking, runs=config.paths.runs, run_id=run_id, folder=str(directory))
        taken = attempts(directory / ATTEMPTS, checkpoint, made_by, config, self.overrides)
        begun = {"record": made_by, "attempts": taken}
        try:
            run_id = logger.run_id or run_id or ""
            _write_json(tracked, {"run_id": run_id})
            _write_json(directory / ATTEMPTS, taken)
            _write_json(directory / HASHED, self.content)
            if self.recorded is None:
                _write_text(directory / CONFIG, OmegaConf.to_yaml(OmegaConf.create(self._recorded())))
            logger.log_hyperparams(telling(self._recorded(), self.overrides))
            logger.log_record({**made_by, **labels(self._recorded())})
            logger.log_file(directory / CONFIG)
            metrics = self._fit(objective, list(callbacks.values()), logger, checkpoint)
            steps = self.trainer.global_step
            result = self._finish(
                "finished" if steps == config.steps else "pruned",
                begun,
                metrics=metrics,
                steps=steps,
                tokens=steps * objective.tokens_per_step,
                parameters=sum(p.numel() for p in objective.model.parameters()),
                run_id=run_id,
            )
        except BaseException as error:
            if isinstance(error, SystemExit) and isinstance(error.__context__, KeyboardInterrupt):
                error = error.__context__  # Lightning makes an exit of Ctrl-C
            logger.fail(error)
            with suppress(OSError):  # a full disk has no room for this either
                self._finish("failed", begun, error=str(error).partition("\n")[0] or type(error).__name__)
            raise error
        logger.close()
        return result

    def _require_unchanged(self) -> None:
        """Raise ValueError, in one line, if somebody has edited the configuration that the folder has its name of."""
        path = self.directory / CONFIG
        if self.recorded is not None or not path.exists():
            return
        if changed := differences(effective(load_config(path)), self.content["config"]):
            raise ValueError(
                f"{path} is not what this run was begun with: {listed(changed)}; restore it, or delete the folder"
            )

    def _fit(
        self, objective: L.LightningModule, callbacks: list[L.Callback], logger: Logger, checkpoint: Path | None
    ) -> dict[str, float]:
        """Train from a checkpoint, or from the start, to the last step; returns and logs the final metrics."""
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
        try:
            trainer.fit(objective, datamodule=self.data, ckpt_path=checkpoint, weights_only=True)
        except RuntimeError as error:
            if "loading state_dict" not in str(error):
                raise
            raise ValueError(
                f"{checkpoint} is of another network than this code makes ({str(error).splitlines()[1].strip()}): "
                f"use the code that began the run, or delete {checkpoint.parent} to train from the start"
            ) from error
        pruned = trainer.global_step < self.config.steps and any(getattr(c, "pruned", False) for c in callbacks)
        if trainer.global_step < self.config.steps and not pruned:  # a limit of the trainer's own, or a signal
            raise ValueError(f"training ended at step {trainer.global_step} of steps={self.config.steps}")
        if objective.validated_step != trainer.global_step:
            trainer.validate(objective, datamodule=self.data, verbose=False, weights_only=True)
        metrics = dict(objective.validation)
        for callback in callbacks:
            metrics |= getattr(callback, "metrics", {})
        if pruned:  # it may go on, and then has no points here that an uninterrupted run would not have
            logger.prune(trainer.global_step)
        else:
            logger.log_metrics(metrics, step=trainer.global_step)
        logger.save()
        if checkpoint := at_step(self.directory / "checkpoints", trainer.global_step):
            logger.log_checkpoint(checkpoint)
        return metrics

    def _recorded(self) -> dict[str, Any]:
        """The resolved configuration as it is written down: a tracking server's password is nobody's business."""
        resolved = OmegaConf.to_container(self.config if self.recorded is None else self.recorded, resolve=True)
        if resolved["tracking"].get("uri"):
            resolved["tracking"]["uri"] = public(resolved["tracking"]["uri"])
        return resolved

    def _objective(self) -> L.LightningModule:
        config = self.config
        return TrainingModule(
            self.model,
            instantiate(config.objective),
            optimizer=instantiate(config.optimizer),
            schedule=instantiate(config.schedule),
            suite=self.suite,
            downstream=self.downstream,
            seed=config.seed,
            tokens_per_step=self.data.batch_size * self.data.sequence_length,
            compile=config.compile,
        )

    def _callbacks(self) -> dict[str, L.Callback]:
        folder = str(self.directory / "checkpoints")
        callbacks = instantiate(self.config.callbacks, checkpoint={"folder": folder})
        for name, callback in callbacks.items():
            if not isinstance(callback, L.Callback):
                raise ValueError(f"callbacks.{name}={callback} is no callback: to go without, write ~callbacks.{name}")
        return dict(callbacks)

    def _finish(self, state: str, begun: dict, **values: Any) -> dict[str, Any]:
        """The result file is written last, and is the only proof of success."""
        result = {
            "identity": self.identity,
            "state": state,
            "error": None,
            "metrics": {},
            "overrides": shareable(self.overrides),
            "seed": self.config.seed,
            **values,
            **begun,
            "config": self._recorded(),
        }
        _write_json(self.directory / RESULT, result)
        return result


def require_compiler() -> None:
    """Raise FileNotFoundError, in one line, if there is nothing that torch.compile could compile with."""
    compiler = shlex.split(os.environ.get("CXX", "g++"))[-1]  # the last of `ccache g++`
    if not (which(compiler) or which("clang++")):
        raise FileNotFoundError(
            f"compile=true needs a C++ compiler, and {compiler} is not there: install g++, or set CXX"
        )
