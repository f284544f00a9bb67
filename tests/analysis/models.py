"""Small language models in float64, tokens for them, and what is measured of them."""

from functools import cache

import torch

from hcexp.analysis import survey
from hcexp.model import LanguageModel
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
