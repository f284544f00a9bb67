"""What the rows of a table of costs take on a cluster: memory of each GPU, and time for the run's tokens."""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from torch import nn

from hcexp.cli.cost_tables import Columns, Line, say, show
from hcexp.cli.steps import PRECISIONS
from hcexp.configuration import build_model
from hcexp.cost import (
    Allocated,
    Cluster,
    Resident,
    count_allocated,
    count_traffic,
    device,
    replicated,
    sharded,
    single,
    workload,
)
from hcexp.cost.cluster import DAY
from hcexp.report.numbers import NOTHING, count, fixed, more
from hcexp.report.predicted import micro_batch_of

SHARDING = "hcexp.optim.FullySharded"
GB = 1e9


def named_cluster(chosen: Namespace, config: DictConfig, utilisation: float) -> Cluster | None:
    """The cluster of the options, without `--count` as many GPUs as the run names; None without `--gpu`.

    Raises ValueError for an unknown GPU, for options that name none, and for nodes of nobody knows how many.
    """
    if chosen.gpu is None:
        for option in ("count", "utilisation"):
            if getattr(chosen, option) is not None:
                raise ValueError(f"--{option} {getattr(chosen, option)} needs --gpu: what the run takes on which GPUs")
        return None
    share = utilisation if chosen.utilisation is None else chosen.utilisation
    named = named_gpus(config)
    return Cluster(device(chosen.gpu), named if chosen.count is None else chosen.count, share)


@dataclass(frozen=True)
class Plan:
    """One row on a cluster; `checkpointed` says whether its blocks are made again in the backward pass."""

    line: Line
    cluster: Cluster
    checkpointed: bool

    @property
    def label(self) -> str:
        return f"{self.line.label}, checkpointed" if self.checkpointed else self.line.label

    @property
    def config(self) -> DictConfig:
        return self.line.config

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
        return count_traffic(self.model, self.line.predicted.sequence_length, **self.precision)

    @property
    def micro_batch(self) -> int:
        return self.line.predicted.micro_batch

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
        return 3 * self.line.predicted.attention

    @property
    def again(self) -> float:
        """Operations a token of a second forward pass through the blocks, if there is one."""
        outside = 2 * self.model.embedding.num_embeddings * self.model.stream.output_dim
        forward = self.line.predicted.flops.forward + self.line.predicted.attention
        return forward - outside if self.checkpointed else 0

    @property
    def flops(self) -> float:
        """Operations a token, all of them."""
        return self.line.predicted.flops.training + self.attention + self.again

    @property
    def tokens(self) -> int:
        return self.config.steps * self.config.data.batch_size * self.line.predicted.sequence_length

    @property
    def seconds(self) -> float:
        return self.cluster.seconds(self.flops * self.tokens)


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


def require_plan(config: DictConfig, cluster: Cluster) -> None:
    """Raise ValueError for a batch that the cluster cannot share, and for another cluster than the run names."""
    size, micro_batch, named = config.data.batch_size, micro_batch_of(config), named_gpus(config)
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


def show_cluster(lines: Sequence[Line], cluster: Cluster, console: Console) -> list[dict[str, Any]]:
    """Memory of each GPU, with and without activation checkpointing; time; and how it comes about, for one row.

    Returns the columns of a file for each of `lines`.
    """
    first = lines[0].config
    both = [Plan(line, cluster, checkpointed) for line in lines for checkpointed in (False, True)]
    one, gpus = both[0], f"{count(cluster.count, 'GPU')}, {cluster.device.name}"
    kind, sequences = strategy(first, cluster), f"{one.micro_batch} × {first.data.sequence_length} tokens at a time"
    each = one.precision["dtype"].itemsize
    show(f"GB of each of {gpus}: {kind}, {first.trainer.precision}, {sequences}", both, _memory(), console)
    say(
        f"A device has {cluster.device.memory / GB:g} GB. Weights, gradients and AdamW's two moments: {each} bytes a "
        f"parameter each{_shared(kind, cluster)}. Beside them: {_beside(kind)}autocast's copies of the weights, and "
        "weight gradients on their way. Kept: what all blocks leave for the backward pass; logits: what the loss "
        "needs above that, its tensors in float32. Both are counted tensor by tensor in the eager code, whose fused "
        "attention keeps no scores; compiled, it is less. Largest: sequences at a time that fit and divide "
        f"data.batch_size={first.data.batch_size}. Checkpointed: model.activation_checkpointing=true.",
        console,
    )
    plans = [plan for plan in both if plan.checkpointed == bool(first.model.activation_checkpointing)]
    _show_time(plans, cluster, gpus, console)
    return [
        _record(kept, made_again, plan) for kept, made_again, plan in zip(both[::2], both[1::2], plans, strict=True)
    ]


def _show_time(plans: Sequence[Plan], cluster: Cluster, gpus: str, console: Console) -> None:
    base, used = plans[0], cluster.utilisation
    billions, days = f"{base.tokens / 1e9:,.1f} billion tokens", f"{base.seconds / DAY:,.2f} days"
    show(f"time for {billions} on {gpus}", plans, _time(base), console)
    parts = [base.line.predicted.flops.training, base.attention, *([base.again] if base.again else [])]
    flops = " + ".join(fixed(part / 1e9, 4) for part in parts)
    say(
        f"{base.label}: ({flops}) GFLOPs a token × {billions} / ({cluster.count} × {cluster.device.flops / 1e12:g} "
        f"TFLOP/s × {used:g}) = {days}. The utilisation of {used:g} is an assumption (--utilisation), communication "
        "and data within it; measure=true on such a GPU gives that of a step. Attention scores are over all positions, "
        "half of them behind the mask; Table 8 leaves them out. More time: from operations alone up to all that the "
        "mode's eager code reads and writes beside them, at the full bandwidth; compiled, it is less.",
        console,
    )


def _record(kept: Plan, checkpointed: Plan, configured: Plan) -> dict[str, Any]:
    cluster, resident = kept.cluster, kept.resident
    return {
        "GPU": cluster.device.name,
        "GPUs": cluster.count,
        "strategy": strategy(kept.config, cluster),
        "bytes of weights": resident.weights,
        "bytes of gradients": resident.gradients,
        "bytes of moments": resident.moments,
        "bytes in all": kept.total,
        "largest micro-batch": kept.largest or 0,
        "bytes in all, checkpointed": checkpointed.total,
        "largest micro-batch, checkpointed": checkpointed.largest or 0,
        "tokens": configured.tokens,
        "operations per token": configured.flops,
        "utilisation, assumed": cluster.utilisation,
        "seconds": configured.seconds,
    }


def _memory() -> Columns:
    def giga(of):
        return lambda plan: fixed(of(plan) / GB, 2)

    return [
        ("weights", giga(lambda p: p.resident.weights)),
        ("gradients", giga(lambda p: p.resident.gradients)),
        ("moments", giga(lambda p: p.resident.moments)),
        ("beside", giga(lambda p: p.resident.gathered + p.allocated.fixed)),
        ("kept", giga(lambda p: p.micro_batch * p.allocated.kept)),
        ("logits", giga(lambda p: p.micro_batch * p.allocated.logits)),
        ("total", giga(lambda p: p.total)),
        ("fits", lambda p: "yes" if p.fits else "no"),
        ("largest", lambda p: NOTHING if p.largest is None else f"{p.largest:,}"),
    ]


def _time(base: Plan) -> Columns:
    def over(plan: Plan) -> str:
        return NOTHING if plan is base else more(plan.flops, base.flops, 2)

    def with_traffic(plan: Plan) -> str:
        share = base.cluster.traffic_share(plan.traffic - base.traffic, base.flops)
        return NOTHING if plan is base or share is None else fixed(100 * (plan.flops / base.flops - 1 + share), 1, True)

    columns = [
        ("GFLOPs a token", lambda p: fixed(p.line.predicted.flops.training / 1e9, 4)),
        ("attention scores", lambda p: fixed(p.attention / 1e9, 4)),
        ("made again", lambda p: fixed(p.again / 1e9, 4)),
        ("days", lambda p: fixed(p.seconds / DAY, 2)),
        ("GPU hours", lambda p: fixed(p.seconds * p.cluster.count / 3600, 1)),
        ("more %, operations", over),
        ("with traffic", with_traffic),
    ]
    return columns if base.checkpointed else [column for column in columns if column[0] != "made again"]


def _shared(kind: str, cluster: Cluster) -> str:
    return f", shared by {cluster.count}" if kind == "fsdp" else ""


def _beside(kind: str) -> str:
    return {
        "single": "",
        "ddp": "DDP's buckets, a second copy of the gradients, and ",
        "fsdp": "put together, two blocks' weights, one block's gradients, and all that is outside the blocks, and ",
    }[kind]
