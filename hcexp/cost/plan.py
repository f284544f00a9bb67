"""What a row of a table of costs takes on a cluster: memory of each GPU, and time for the run's tokens."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from hcexp.configuration import build_model
from hcexp.cost.allocated import Allocated, count_allocated
from hcexp.cost.cluster import Cluster
from hcexp.cost.devices import device
from hcexp.cost.estimate import CostEstimate, micro_batch_of
from hcexp.cost.resident import Resident, replicated, sharded, single
from hcexp.cost.traffic import count_traffic
from hcexp.cost.training_step import PRECISIONS
from hcexp.cost.workload import workload

SHARDING = "hcexp.optim.FullySharded"
UTILISATION = 0.4  # an assumption, and told as one


@dataclass(frozen=True)
class Plan:
    """One row on a cluster; `checkpointed` says whether its blocks are made again in the backward pass."""

    row: str
    config: DictConfig
    predicted: CostEstimate
    cluster: Cluster
    checkpointed: bool

    @property
    def label(self) -> str:
        return f"{self.row}, checkpointed" if self.checkpointed else self.row

    @cached_property
    def model(self) -> nn.Module:
        config = self.config.copy()
        config.model.activation_checkpointing = self.checkpointed
        return build_model(config)

    @cached_property
    def precision(self) -> dict[str, Any]:
        """Of the weights, and whether products are made in bfloat16 beside them."""
        return {"dtype": PRECISIONS[self.config.trainer.precision], "mixed": "mixed" in self.config.trainer.precision}

    @cached_property
    def resident(self) -> Resident:
        of = {"single": single, "ddp": replicated, "fsdp": sharded}[strategy(self.config, self.cluster)]
        sizes = (self.cluster.count,) if of is sharded else ()
        return of(self.model, self.precision["dtype"], *sizes)

    @cached_property
    def allocated(self) -> Allocated:
        return count_allocated(self.model, workload(self.config), samples=self.micro_batch, **self.precision)

    @cached_property
    def traffic(self) -> float:
        return count_traffic(self.model, self.predicted.sequence_length, **self.precision)

    @property
    def micro_batch(self) -> int:
        return self.predicted.micro_batch

    @property
    def total(self) -> float:
        return self.resident.total + self.allocated.bytes(self.micro_batch)

    @property
    def fits(self) -> bool:
        return self.cluster.fits(self.resident, self.allocated, self.micro_batch)

    @property
    def largest(self) -> int | None:
        return self.cluster.largest(self.resident, self.allocated, self.config.data.batch_size // self.cluster.count)

    @property
    def attention(self) -> int:
        """Operations a token in attention scores, forward and backward, over all positions."""
        return 3 * self.predicted.attention

    @property
    def again(self) -> float:
        """Operations a token of a second forward pass through the blocks, if there is one."""
        outside = 2 * self.model.embedding.num_embeddings * self.model.stream.output_dim
        return self.predicted.flops.forward + self.predicted.attention - outside if self.checkpointed else 0

    @property
    def flops(self) -> float:
        """Operations a token, all of them."""
        return self.predicted.flops.training + self.attention + self.again

    @property
    def tokens(self) -> int:
        return self.config.steps * self.config.data.batch_size * self.predicted.sequence_length

    @property
    def seconds(self) -> float:
        return self.cluster.seconds(self.flops * self.tokens)


def named_cluster(gpu: str | None, count: int | None, utilisation: float | None, config: DictConfig) -> Cluster | None:
    """The cluster that the options of `hcexp cost` name, without `count` as many GPUs as the run names; None without a
    `gpu`.

    Raises ValueError for an unknown GPU, for options that name none, for a batch that the cluster cannot share, and for
    another cluster than the run names, or one that nobody here can count.
    """
    if gpu is None:
        for option, value in (("count", count), ("utilisation", utilisation)):
            if value is not None:
                raise ValueError(f"--{option} {value} needs --gpu: what the run takes on which GPUs")
        return None
    named, size, micro_batch = named_gpus(config), config.data.batch_size, micro_batch_of(config)
    cluster = Cluster(device(gpu), count or named, UTILISATION if utilisation is None else utilisation)
    if named not in (1, cluster.count):
        raise ValueError(
            f"--count {cluster.count} is not what trainer.devices × trainer.num_nodes = {named} says: leave one out"
        )
    if size % (cluster.count * micro_batch):
        raise ValueError(
            f"data.batch_size={size} cannot be shared by --count {cluster.count} in micro-batches of {micro_batch}: "
            "change one of them, or trainer.accumulate_grad_batches, which cuts the batch"
        )
    strategy(config, cluster)
    precision = config.trainer.precision
    if precision not in PRECISIONS:
        raise ValueError(f"trainer.precision={precision} cannot be counted: choose from {', '.join(PRECISIONS)}")
    return cluster


def strategy(config: DictConfig, cluster: Cluster) -> str:
    """`single`, `ddp` or `fsdp`; ValueError for another one, whose memory nobody here knows."""
    asked = config.trainer.strategy
    target = asked if isinstance(asked, str) else asked.get("_target_", "")
    if target == SHARDING:
        return "fsdp"
    if target != "auto" and not target.startswith("ddp"):
        raise ValueError(f"trainer.strategy={target} cannot be counted: choose auto, ddp, or trainer=fsdp")
    return "ddp" if cluster.count > 1 else "single"


def named_gpus(config: DictConfig) -> int:
    """`trainer.devices × trainer.num_nodes`, or 1 where it is left to the machine, as in `trainer.devices=auto`.

    Raises ValueError for several nodes of nobody knows how many devices, and for a batch that cannot be cut.
    """
    devices, nodes = config.trainer.get("devices"), config.trainer.get("num_nodes", 1)
    if nodes > 1 and not (OmegaConf.is_list(devices) or (isinstance(devices, int) and devices > 0)):
        raise ValueError(
            f"trainer.devices={devices} is no number of GPUs, of which trainer.num_nodes={nodes} nodes would have as "
            "many each: give one, 1 or more"
        )
    return config.data.batch_size // (micro_batch_of(config) * config.trainer.accumulate_grad_batches)
