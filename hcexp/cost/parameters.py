"""Parameters, exactly."""

from typing import NamedTuple

from torch import nn


class Parameters(NamedTuple):
    """Counts of single numbers.

    total: all of them, tied embeddings once.
    residual: those of the residual mode, beside what the network has anyway.
    frozen: those that training leaves at their initial values.
    """

    total: int
    residual: int
    frozen: int


def count_parameters(model: nn.Module) -> Parameters:
    """Count a model's parameters; it may lie on the meta device.

    Norms count with the network: what a mode adds is in its connections' weights. Table 7's dense rows follow to
    the last integer.
    """
    parameters = dict(model.named_parameters())
    norms = {
        name
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm | nn.RMSNorm)
        for name, _ in module.named_parameters(prefix=prefix)
    }
    return Parameters(
        total=sum(p.numel() for p in parameters.values()),
        residual=sum(p.numel() for n, p in parameters.items() if n.startswith("stream.") and n not in norms),
        frozen=sum(p.numel() for p in parameters.values() if not p.requires_grad),
    )
