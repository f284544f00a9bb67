"""Training steps to be measured, of several models in one process.

A step is forward, loss and backward of one made-up micro-batch, clipping and the optimiser, without Trainer
and data. Its learning rate is 0, so that models that share weights do not change each other's.
"""

from collections import defaultdict

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from hcexp.configuration import build_model, instantiate
from hcexp.cost.estimate import micro_batch_of
from hcexp.cost.workload import autocast, workload
from hcexp.tables.format import count

PRECISIONS = {"32-true": torch.float32, "bf16-mixed": torch.float32, "bf16-true": torch.bfloat16}
CLIP = 1.0
STD = 0.02  # of shared weights, which are drawn on the device: a step takes as long with any


class Backbone:
    """What models under different residual modes have in common, held once: weights and their optimizer states.

    So that all modes of a 1B model fit on one device, and can be timed in turn. Weights are shared where name, shape
    and precision are the same; those of the residual streams are each model's own.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.states: defaultdict = defaultdict(dict)  # of every parameter, as torch's optimizers keep them
        self._shared: dict[tuple, nn.Parameter] = {}

    @torch.no_grad()
    def materialise(self, model: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Give weights to a model that lies on the meta device."""
        model.stream.to_empty(device=self.device).to(dtype)
        for module in model.stream.modules():
            if isinstance(module, nn.LayerNorm | nn.RMSNorm):
                module.reset_parameters()
        model.stream.reset_parameters()
        weights = {n: self._weight(n, p.shape, dtype) for n, p in model.named_parameters() if p.is_meta}
        model.load_state_dict(weights, strict=False, assign=True)
        return model

    def _weight(self, name: str, shape: torch.Size, dtype: torch.dtype) -> nn.Parameter:
        key = (name, shape, dtype)
        if key not in self._shared:
            self._shared[key] = nn.Parameter(torch.empty(shape, dtype=dtype, device=self.device).normal_(std=STD))
        return self._shared[key]


class TrainingStep:
    """One optimiser step of a configuration's model, each time it is called.

    Raises ValueError for a precision that cannot be measured.
    """

    def __init__(self, config: DictConfig, backbone: Backbone, *, compiled: bool):
        precision = str(config.trainer.precision)
        if precision not in PRECISIONS:
            raise ValueError(f"trainer.precision={precision} cannot be measured: choose from {', '.join(PRECISIONS)}")
        self.device, self.mixed = backbone.device, precision == "bf16-mixed"
        self.model = backbone.materialise(build_model(config), PRECISIONS[precision])
        if compiled:
            self.model.compile_blocks()
        self.optimizer = instantiate(config.optimizer)(self.model)
        self.optimizer.state = backbone.states
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        work, samples = workload(config), micro_batch_of(config)
        self.objective = work.objective
        self.batch = tree_map(lambda tensor: tensor.to(self.device), work.example(samples))
        self.tokens_per_step = samples * work.positions(self.model)

    def __call__(self) -> None:
        self._loss().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def _loss(self) -> Tensor:
        with autocast(self.mixed, self.device.type):
            return self.objective(self.model, self.batch).minimised

    @property
    def resident_bytes(self) -> int:
        """Weights and optimizer states of this model alone, between two steps; the states from the first step on."""
        weights = list(self.model.parameters())
        states = [value for p in weights for value in self.optimizer.state.get(p, {}).values()]
        return sum(t.numel() * t.element_size() for t in (*weights, *states) if isinstance(t, torch.Tensor))


def measured_device(config: DictConfig) -> torch.device:
    """The GPU, if there is one and the configuration does not ask for the CPU."""
    on_gpu = torch.cuda.is_available() and config.trainer.accelerator != "cpu"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else count(torch.get_num_threads(), "CPU thread")
