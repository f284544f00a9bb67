"""What the rows of a table of costs take on a cluster, as tables and as columns of their file."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hcexp.cost.cluster import DAY, Cluster
from hcexp.cost.plan import Plan, strategy
from hcexp.cost.tables import LABEL, Line
from hcexp.tables.format import count, fixed, more
from hcexp.tables.table import Column, Entry, Table, lay_out

GIGA = 1e9


def cluster_tables(lines: Sequence[Line], cluster: Cluster) -> tuple[list[Table], list[Line]]:
    """Memory of each GPU, with and without activation checkpointing; time, and how it comes about for one row.

    Returns these tables, and the lines with the columns that a file has of what they take.
    """
    again = bool(lines[0].config.model.activation_checkpointing)
    both = [Plan(one.label, one.config, one.predicted, cluster, made) for one in lines for made in (False, True)]
    plans = [plan for plan in both if plan.checkpointed == again]
    taken = map(_taken, both[::2], both[1::2], plans)
    tables = [_memory(both, cluster), _time(plans, cluster)]
    return tables, [replace(line, taken=columns) for line, columns in zip(lines, taken, strict=True)]


def _memory(plans: Sequence[Plan], cluster: Cluster) -> Table:
    one, config, kind = plans[0], plans[0].config, strategy(plans[0].config, cluster)
    entries = (
        LABEL,
        _number("weights", lambda p: p.resident.weights, 2),
        _number("gradients", lambda p: p.resident.gradients, 2),
        _number("moments", lambda p: p.resident.moments, 2),
        _number("beside", lambda p: p.resident.gathered + p.allocated.fixed, 2),
        _number("kept", lambda p: p.micro_batch * p.allocated.kept, 2),
        _number("logits", lambda p: p.micro_batch * p.allocated.logits, 2),
        _number("total", lambda p: p.total, 2),
        (Column("fits"), lambda p: "yes" if p.fits else "no"),
        (Column("largest"), lambda p: p.largest and f"{p.largest:,}"),
    )
    beside = {
        "single": "",
        "ddp": "DDP's buckets, a second copy of the gradients, and ",
        "fsdp": "put together, two blocks' weights, one block's gradients, and all that is outside the blocks, and ",
    }[kind]
    shared = f", shared by {cluster.count}" if kind == "fsdp" else ""
    note = (
        f"A device has {cluster.device.memory / GIGA:g} GB. Weights, gradients and AdamW's two moments: "
        f"{one.precision['dtype'].itemsize} bytes a parameter each{shared}. Beside them: {beside}autocast's copies of "
        "the weights, and weight gradients on their way. Kept: what all blocks leave for the backward pass; logits: "
        "what the loss needs above that, its tensors in float32. Both are counted tensor by tensor in the eager code, "
        "whose fused attention keeps no scores; compiled, it is less. Largest: sequences at a time that fit and divide "
        f"data.batch_size={config.data.batch_size}. Checkpointed: model.activation_checkpointing=true."
    )
    at_a_time = f"{one.micro_batch} × {config.data.sequence_length} tokens at a time"
    title = f"GB of each of {_gpus(cluster)}: {kind}, {config.trainer.precision}, {at_a_time}"
    return lay_out(title, plans, entries, notes=(note,))


def _time(plans: Sequence[Plan], cluster: Cluster) -> Table:
    base, used = plans[0], cluster.utilisation

    def with_traffic(plan: Plan) -> str | None:
        share = cluster.traffic_share(plan.traffic - base.traffic, base.flops)
        none = plan is base or share is None
        return None if none else fixed(100 * (plan.flops / base.flops - 1 + share), 1, signed=True)

    entries = (
        LABEL,
        _number("GFLOPs a token", lambda p: p.predicted.flops.training, 4),
        _number("attention scores", lambda p: p.attention, 4),
        *([_number("made again", lambda p: p.again, 4)] if base.checkpointed else []),
        _number("days", lambda p: p.seconds, 2, DAY),
        _number("GPU hours", lambda p: p.seconds * cluster.count, 1, 3600),
        (Column("more %, operations"), lambda p: None if p is base else more(p.flops, base.flops, 2)),
        (Column("with traffic"), with_traffic),
    )
    billions = f"{base.tokens / GIGA:,.1f} billion tokens"
    parts = [base.predicted.flops.training, base.attention, *([base.again] if base.again else [])]
    note = (
        f"{base.label}: ({' + '.join(fixed(part / GIGA, 4) for part in parts)}) GFLOPs a token × {billions} / "
        f"({cluster.count} × {cluster.device.flops / 1e12:g} TFLOP/s × {used:g}) = {base.seconds / DAY:,.2f} days. The "
        f"utilisation of {used:g} is an assumption (--utilisation), communication and data within it; --measure on "
        "such a GPU gives that of a step. Attention scores are over all positions, half of them behind the mask; Table "
        "8 leaves them out. More time: from operations alone up to all that the mode's eager code reads and writes "
        "beside them, at the full bandwidth; compiled, it is less."
    )
    return lay_out(f"time for {billions} on {_gpus(cluster)}", plans, entries, notes=(note,))


def _number(header: str, of: Callable[[Plan], float], decimals: int, worth: float = GIGA) -> Entry:
    return Column(header), lambda plan: fixed(of(plan) / worth, decimals)


def _gpus(cluster: Cluster) -> str:
    return f"{count(cluster.count, 'GPU')}, {cluster.device.name}"


def _taken(kept: Plan, checkpointed: Plan, configured: Plan) -> dict[str, Any]:
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
