"""Small language models in float64, tokens for them, and what is measured of them."""

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hcexp.analysis import survey
from hcexp.analysis.passages import Passage, watch
from hcexp.model import LanguageModel
from hcexp.residual import Coefficients
from hcexp.residual.stream import State
from tests.registered import residual
from tests.residual.conftest import perturb

D, LAYERS = 16, 3
L = 2 * LAYERS


def network(mode, *knobs, norm="rms_norm", layers=LAYERS):
    """With LayerNorm the outputs of post-norm modes count less their means, which no coefficient expresses."""
    sizes = {"d": D, "layers": layers, "heads": 2, "inner": 24, "vocabulary_size": 50}
    model = LanguageModel(residual(f"residual={mode}", *knobs), **sizes, norm=norm, norm_eps=1e-6)
    model.reset_parameters(0)
    return model.double()


def perturbed(mode, *knobs, scale=0.3):
    model = network(mode, *knobs)
    perturb(model.stream, scale=scale)
    return model


def tokens(batch, seq, seed=0):
    return torch.randint(50, (batch, seq), generator=torch.Generator().manual_seed(seed))


@cache
def measured(mode, *knobs):
    return survey(perturbed(mode, *knobs), [tokens(2, 8)])


class Trace(NamedTuple):
    """What one forward pass did: the embedding, the state before each sublayer and the last one, what each sublayer was
    given and gave, (batch, seq, d), and the mode's coefficients for it.
    """

    embedding: Tensor
    states: list[State]
    inputs: list[Tensor]
    outputs: list[Tensor]
    coefficients: list[Coefficients]


def trace(model: nn.Module, tokens: Tensor) -> Trace:
    passages: list[Passage] = []
    embeddings: list[Tensor] = []
    hook = model.embedding.register_forward_hook(lambda module, arguments, h: embeddings.append(h))
    try:
        watch(model, lambda: model(tokens), passages.append)
    finally:
        hook.remove()
    befores, inputs, outputs, coefficients, afters = (list(part) for part in zip(*passages, strict=True))
    return Trace(embeddings[0], [*befores, afters[-1]], inputs, outputs, coefficients)
