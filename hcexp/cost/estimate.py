"""What a configuration costs by count and by formula; nothing is trained, and no memory taken."""

from dataclasses import dataclass

from omegaconf import DictConfig, OmegaConf
from torch import nn

from hcexp.configuration import build_model
from hcexp.cost.flops import Flops, attention_flops, count_flops
from hcexp.cost.memory import activation_bytes
from hcexp.cost.parameters import Parameters, count_parameters
from hcexp.cost.workload import Workload, workload


class NotCountableError(ValueError):
    """The residual mode's code does not run on tensors without values, on which operations are counted."""


@dataclass(frozen=True)
class CostEstimate:
    """Of a model under its residual mode, with sequences of `sequence_length`, `micro_batch` of them at a time.

    `attention` are the operations a token, forward, that `flops` leaves out; `activations` the bytes of the paper's
    formula, which takes a mode without an expansion rate for the plain stream. `plain` and `expansion_rate` are the
    mode's own.
    """

    parameters: Parameters
    flops: Flops
    attention: int
    activations: int
    sequence_length: int
    micro_batch: int
    plain: bool
    expansion_rate: int | None

    @property
    def by_formula(self) -> bool:
        """Whether the formula covers the mode: the plain transformer and hyper-connections."""
        return self.plain or self.expansion_rate is not None


def estimate_cost(config: DictConfig) -> CostEstimate:
    """Seconds at any size. Raises what building the model raises.

    Raises ValueError for a batch that cannot be cut, and NotCountableError for a mode that cannot be counted.
    """
    model, micro_batch, work = build_model(config), micro_batch_of(config), workload(config)
    positions = work.positions(model)
    return CostEstimate(
        parameters=count_parameters(model),
        flops=_flops(model, work, config),
        attention=attention_flops(model, positions),
        activations=activation_bytes(
            d=config.model.d,
            layers=config.model.layers,
            heads=config.model.heads,
            sequence_length=positions,
            batch=micro_batch,
            expansion_rate=model.stream.expansion_rate,
        ),
        sequence_length=positions,
        micro_batch=micro_batch,
        plain=model.stream.plain,
        expansion_rate=model.stream.expansion_rate,
    )


def _flops(model: nn.Module, work: Workload, config: DictConfig) -> Flops:
    try:
        return count_flops(model, work)
    except Exception as error:  # of the mode's code, which may be anybody's
        line = (str(error).strip() or "no more is said").partition("\n")[0]
        raise NotCountableError(
            f"residual={config.choices.residual} cannot be counted: {type(error).__name__}: {line}"
        ) from error


def micro_batch_of(config: DictConfig) -> int:
    """Sequences that a device takes at a time; as many devices as are named, or one."""
    trainer, devices = config.trainer, config.trainer.get("devices")
    devices = len(devices) if OmegaConf.is_list(devices) else devices if isinstance(devices, int) else 1
    parts = max(devices, 1) * trainer.get("num_nodes", 1) * trainer.get("accumulate_grad_batches", 1)
    size, rest = divmod(config.data.batch_size, parts)
    if rest or not size:
        raise ValueError(
            f"data.batch_size={config.data.batch_size} cannot be cut into {parts} micro-batches "
            f"(trainer.devices × trainer.num_nodes × trainer.accumulate_grad_batches): allowed are multiples of {parts}"
        )
    return size
