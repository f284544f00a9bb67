"""The LightningModule of every task: it seeds, sets weights, asks the objective, and counts what is evaluated."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hcexp.callbacks.throughput import per_step
from hcexp.evaluation import Benchmark
from hcexp.model.init import key
from hcexp.model.sharding import full_tensor
from hcexp.objective import Objective
from hcexp.optim import Schedule


class TrainingModule(L.LightningModule):
    """Trains a model on an objective, and measures it on every part of its benchmarks.

    Nothing is logged from the training step: callbacks read its outputs, and it costs no more than in a bare loop.

    Args:
        model: may lie on the meta device; `configure_model` shards it if the strategy does, and draws the weights.
        objective: gives the losses of the model on a batch.
        optimizer: makes the optimizer from the model.
        schedule: the learning rate's course.
        benchmarks: what is evaluated, prepared; the validation loaders are those of their parts, in order.
        seed: of the initial weights.
        samples_per_step: samples an optimiser step over all devices.
        tokens_per_step: likewise; 0 where samples are no sequences of tokens.
        compile: compile the model's blocks.

    Attributes:
        validation: every metric of the last validation.
        headline: name of the metric among them that stands for all; None if there is none.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: Callable[[nn.Module], Optimizer],
        schedule: Schedule,
        benchmarks: Sequence[Benchmark],
        *,
        seed: int,
        samples_per_step: int,
        tokens_per_step: int = 0,
        compile: bool = False,
    ):
        super().__init__()
        self.model, self.objective, self.benchmarks, self.seed = model, objective, benchmarks, seed
        self.optimizer, self.schedule = optimizer, schedule
        self.headline = next((one.headline for one in benchmarks if one.headline), None)
        self.samples_per_step, self.tokens_per_step = samples_per_step, tokens_per_step
        self.compile_blocks = compile
        self.meters = nn.ModuleList(meter for one in benchmarks for meter in one.meters())
        self.grad_norm: Tensor | None = None  # of the last optimiser step, before clipping
        self.validation: dict[str, float] = {}
        self.validated_step: int | None = None
        self.configured = False

    def configure_model(self) -> None:
        if self.configured:
            return
        if self.compile_blocks:
            self.model.compile_blocks()
        if self.device_mesh is not None:  # the strategy shards
            self.model.shard(self.device_mesh["data_parallel"])
        self.model.to_empty(device=self.device)
        self.model.reset_parameters(self.seed)
        self.configured = True

    def on_fit_start(self) -> None:
        limit = self.trainer.gradient_clip_val
        if limit is not None and not limit > 0:  # a negative one would turn the gradients round
            raise ValueError(
                f"trainer.gradient_clip_val={limit} is not allowed: it must be more than 0, or null for none"
            )
        algorithm = self.trainer.gradient_clip_algorithm
        if algorithm not in (None, "norm"):
            raise ValueError(f"trainer.gradient_clip_algorithm={algorithm.value} is not supported: choose norm")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seed torch's generators by (seed, step, micro-batch, process), so that a run that goes on draws the same."""
        micro_batch = batch_idx % self.trainer.accumulate_grad_batches
        seed = key(self.seed, f"step {self.trainer.global_step}.{micro_batch} of {self.global_rank}")
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks every kind of device: half a millisecond
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """`loss` is what is minimised, `reported` what the objective has for the curves, see `Losses`."""
        losses = self.objective(self.model, batch)
        return {"loss": losses.minimised, "reported": losses.reported}

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip by the total norm over all shards, and keep it, which Lightning's own clipping throws away."""
        limit = float("inf") if gradient_clip_val is None else gradient_clip_val
        self.grad_norm = full_tensor(nn.utils.clip_grad_norm_(self.parameters(), limit))

    def configure_optimizers(self) -> dict:
        optimizer = self.optimizer(self.model)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.schedule(optimizer), "interval": "step"}}

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        meter = self.meters[dataloader_idx]
        eager = self.compile_blocks and meter.varying_shapes
        with torch.compiler.set_stance("force_eager") if eager else nullcontext():
            meter.update(self.model, batch)

    def on_validation_epoch_end(self) -> None:
        self.validated_step = self.trainer.global_step
        self.validation, meters = {}, iter(self.meters)
        for one in self.benchmarks:
            self.validation |= one.metrics({part: next(meters).results() for part in one.parts})
        unit, count = per_step(self)
        self.validation[f"train/{unit}"] = self.validated_step * count
        for meter in self.meters:
            meter.reset()
        for logger in self.loggers:
            logger.log_metrics(self.validation, step=self.validated_step)
