"""One configuration in, one folder out: what a run is, before and after it trains."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import HydraException
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from hcexp.configuration import build_model, instantiate
from hcexp.huggingface import OlmoWeights
from hcexp.run.folder import RunFolder, recorded_as
from hcexp.run.identity import effective, hashed
from hcexp.run.lock import locked
from hcexp.tracking import send_unsent, store_uri

if TYPE_CHECKING:
    import lightning.pytorch as L
    from torch import nn

    from hcexp.data.data import Data
    from hcexp.evaluation import Benchmark, Downstream


class Run:
    """A configuration, and the folder `paths.runs/<identity>` that its run leaves.

    Its parts are built when they are asked for: a name takes the fingerprints of the data, and no network.

    Args:
        config: of the run; `overrides` made it of `conf/`.
        recorded: the configuration that the run has its name of, where it goes on with another one, `config`.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[str] = (), recorded: DictConfig | None = None):
        self.config = config
        self.overrides = list(overrides)
        self.named_by = config if recorded is None else recorded
        self.trainer: L.Trainer | None = None  # of this process, once it trains

    @cached_property
    def model(self) -> "nn.Module":
        """The network on the meta device, with the weights that it is to start from, if there are any."""
        model = build_model(self.config)
        model.initial = OlmoWeights(self.config.init_from, self.config.model, model) if self.config.init_from else None
        return model

    @cached_property
    def data(self) -> "Data":
        """What it trains on."""
        return instantiate(self.config.data)

    @cached_property
    def suite(self) -> "Benchmark":
        """The validation sets."""
        return instantiate(self.config.evaluation)

    @cached_property
    def downstream(self) -> "Downstream":
        """The downstream tasks."""
        return instantiate(self.config.downstream)

    @property
    def headline(self) -> str | None:
        """Name of the metric that a run is judged by, the lower the better."""
        return self.suite.headline

    @cached_property
    def content(self) -> dict[str, Any]:
        """What the identity is the hash of: the configuration, and the fingerprints of the data."""
        content = {
            "config": effective(self.named_by),
            "data": self.data.fingerprint,
            "evaluation": self.suite.fingerprint,
            "downstream": self.downstream.fingerprint,
        }
        if self.config.init_from:
            content["init_from"] = self.model.initial.checksum
        return content

    @cached_property
    def identity(self) -> str:
        """The run's name: 16 hexadecimal digits.

        Where its data are not at hand, as on another machine than that of the run, it is that of the one run that has
        recorded this configuration. Raises what is wrong with the data if there is none, or more than one.
        """
        try:
            return hashed(self.content)
        except (OSError, HydraException):
            named = recorded_as(Path(self.config.paths.runs), effective(self.named_by))
            if len(named) == 1:
                return named[0]
            raise

    @cached_property
    def directory(self) -> Path:
        """The run's folder, which may not be there yet."""
        return Path(self.config.paths.runs) / self.identity

    def check(self) -> None:
        """Build every part, so that what is wrong with one of them is heard before anything is prepared.

        Raises ValueError, FileNotFoundError and the like, in one line, for a configuration that cannot run.
        """
        _ = self.model, self.identity
        for part in ("objective", "optimizer", "schedule"):
            instantiate(self.config[part])

    def result(self) -> dict[str, Any]:
        """What the run left: `state` is "finished", "failed", "pruned" or, if there is nothing yet, "missing"."""
        missing = {"identity": self.identity, "state": "missing", "error": None, "metrics": {}}
        return RunFolder(self.directory).result or missing

    def prepare(self) -> None:
        """Make the training data, the validation sets and the tasks ready, unless the cache has them."""
        # Of several processes on a machine, as Lightning, torchrun and SLURM say, one compares the cache's checksums.
        rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
        self.data.verify = self.data.verify and rank == 0
        if self.model.initial is not None:
            self.model.initial.fetch()
        self.downstream.prepare(self.data, self.config.paths.cache)
        self.data.prepare()
        self.suite.prepare(self.data, self.config.paths.cache)

    def loaders(self, rank: int = 0, world_size: int = 1) -> list:
        """The loaders of the validation sets, then those of the tasks, of one process."""
        return self.suite.loaders(rank, world_size) + self.downstream.loaders(rank, world_size)

    def train(self) -> dict[str, Any]:
        """Train to the end and return the result; a finished run is not repeated, a broken or pruned one goes on.

        While another process is at the same run, this one waits, see `locked`.

        Raises:
            FloatingPointError: loss or gradient norm ceased to be finite.
            OSError: no room for a checkpoint.
            ConnectionError: the tracking server does not answer.
        """
        from hcexp.run.train import train

        self.check()
        with locked(self.directory):
            result = self.result()
            if result["state"] != "finished":
                return train(self)
            self.send_unsent()
            return result

    def send_unsent(self) -> None:
        """Tell MLflow what a finished run could not, because the store was away; warns if it still is."""
        result = self.result()
        if result["state"] == "finished" and "uri" in self.config.tracking:
            uri = store_uri(self.config.tracking.uri, self.config.paths.runs)
            rank_zero_only(send_unsent)(uri, self.directory)
