"""Small language models in float64, and tokens for them."""

import torch

from hcexp.model import LanguageModel
from tests.registered import residual

D, LAYERS = 16, 3


def network(mode, *knobs, norm="rms_norm"):
    """With LayerNorm the outputs of post-norm modes count less their means, which no coefficient expresses."""
    model = LanguageModel(
        residual(f"residual={mode}", *knobs),
        d=D,
        layers=LAYERS,
        heads=2,
        inner=24,
        vocabulary_size=50,
        norm=norm,
        norm_eps=1e-6,
    )
    model.reset_parameters(0)
    return model.double()


def tokens(batch, seq, seed=0):
    return torch.randint(50, (batch, seq), generator=torch.Generator().manual_seed(seed))
