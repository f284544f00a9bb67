"""Fully sharded data parallelism as Lightning's Trainer takes it."""

import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.optim import Optimizer

from hcexp.disk.atomic import PARTIAL
from hcexp.model.sharding import distribute_like, full_tensor


class FullySharded(ModelParallelStrategy):
    """Data parallelism over all devices of all nodes, with weights, gradients and optimizer states in shards (FSDP2).

    The model distributes itself in `configure_model`. A checkpoint is one file, the same as of a single process, and
    each goes on from the other's. (Lightning takes the numbers of the optimizer's states for those of the model's
    parameters; a single process counts along the optimizer's groups.) The first process has all of it in the host's
    memory while it writes: 12 bytes a parameter in float32, 83 GB for 7B.

    Args:
        sharded_checkpoints: write folders instead, every process its part: only sharded runs go on from these, with
            any number of processes. `python -m lightning.pytorch.utilities.consolidate_checkpoint` makes a file of
            one, of which evaluation and export take the weights.
        options: more of Lightning's ModelParallelStrategy, such as `timeout`.
    """

    def __init__(self, sharded_checkpoints: bool = False, **options: Any):
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=sharded_checkpoints, **options)

    def setup_environment(self) -> None:
        self._data_parallel_size = self.num_nodes * self.num_processes  # not known before
        super().setup_environment()

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """What a checkpoint says of an optimizer; for one file, whole on the first process and empty elsewhere."""
        if self._save_distributed_checkpoint:
            return super().optimizer_state(optimizer)

        def kept(tensor: Tensor) -> Tensor | None:
            whole = full_tensor(tensor)
            return whole.cpu() if self.is_global_zero else None

        state = apply_to_collection(optimizer.state_dict(), Tensor, kept)
        return state if self.is_global_zero else {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; a folder of shards gets its name when every process has written its part."""
        if not self._save_distributed_checkpoint:
            super().save_checkpoint(checkpoint, filepath, storage_options)
            return
        path = Path(self.broadcast(filepath))
        partial = path.with_name(f"{path.name}{PARTIAL}")
        super().save_checkpoint(checkpoint, partial, storage_options)
        self.barrier()
        if self.is_global_zero:
            if path.is_dir():  # a damaged one of the same step, before which the run has begun again
                shutil.rmtree(path)
            partial.rename(path)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Weights and optimizer states of a checkpoint to where they belong; returns the rest of it."""
        path = Path(self.broadcast(checkpoint_path))
        if path.is_dir():
            return super().load_checkpoint(path, weights_only)
        checkpoint = torch.load(path, map_location="cpu", mmap=True, weights_only=weights_only)
        set_model_state_dict(self.model, checkpoint.pop("state_dict"), options=StateDictOptions(full_state_dict=True))
        for optimizer, state in zip(self.optimizers, checkpoint.pop("optimizer_states"), strict=False):
            optimizer.load_state_dict(_parts(optimizer, state))
        return checkpoint


def _parts(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """The whole state of an optimizer as this process's parts."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def of(parameter: Tensor, values: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            # All but the number of steps are as large as the parameter.
            name: distribute_like(parameter, value) if value.shape == parameter.shape else value
            for name, value in values.items()
        }

    return {**state, "state": {i: of(parameters[i], values) for i, values in state["state"].items()}}
