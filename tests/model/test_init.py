"""Initial weights: their deviations, and that each depends on the seed and its own name alone."""

from math import sqrt

import pytest
import torch
from torch import nn

from hcexp.model import LanguageModel
from hcexp.model.init import draw
from hcexp.residual import PreNorm
from tests.model.conftest import RESIDUAL, SIZES
from tests.model.history import Dense


def test_mitchell_deviations(small):
    d, inner = 128, 512
    model = small(d=d, inner=inner, vocabulary_size=2048)
    shrunk = 0.9866  # deviation of a standard normal truncated at 3
    expected = {"embedding.weight": 1 / sqrt(d)}
    for layer in range(3):
        depth = sqrt(2 * (layer + 1))
        expected |= {
            f"blocks.{layer}.attention.qkv.weight": 1 / sqrt(d),
            f"blocks.{layer}.feed_forward.gate_up.weight": 1 / sqrt(d),
            f"blocks.{layer}.attention.out.weight": 1 / sqrt(d) / depth,
            f"blocks.{layer}.feed_forward.out.weight": 1 / sqrt(inner) / depth,
        }
    weights = dict(model.named_parameters())
    assert weights.keys() == expected.keys()
    for name, std in expected.items():
        assert weights[name].std().item() == pytest.approx(shrunk * std, rel=0.03), name
        assert weights[name].abs().max() <= 3 * std * (1 + 1e-6)


def test_normal_deviations_take_the_modes_factor(small):
    for mode, factor in (("pre_norm", 1), ("dhc", 3**-0.5)):
        block = small(mode, d=128, inner=512, init="normal").blocks[2]
        assert block.attention.qkv.weight.std().item() == pytest.approx(0.9866 * 0.02, rel=0.03)
        assert block.feed_forward.out.weight.std().item() == pytest.approx(0.9866 * 0.02 * factor, rel=0.03)


def test_a_draw_depends_on_seed_and_name():
    shape = torch.Size([5, 7])
    assert torch.equal(draw(shape, 1.0, 0, "a"), draw(shape, 1.0, 0, "a"))
    assert not torch.equal(draw(shape, 1.0, 0, "a"), draw(shape, 1.0, 1, "a"))
    assert not torch.equal(draw(shape, 1.0, 0, "a"), draw(shape, 1.0, 0, "b"))


def test_what_a_mode_draws_itself_depends_on_the_seed(small):
    one, other = small(Dense, seed=1), small(Dense, seed=2)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    one.reset_parameters(1)
    assert torch.equal(torch.get_rng_state(), state)
    same = small(Dense, seed=1)
    for a, b, c in zip(one.stream.parameters(), other.stream.parameters(), same.stream.parameters(), strict=True):
        assert torch.equal(a, c) and not torch.equal(a, b)
    assert one.stream.scale.tolist() == [3.0, 0.5]  # a buffer is set, too


def test_what_a_mode_leaves_unset_is_named(small):
    class Forgetful(Dense):
        def reset_parameters(self):
            for connection in self.connections:
                connection.reset_parameters()

    class Negligent(PreNorm):
        def __init__(self, *given):
            super().__init__(*given)
            self.alpha = nn.Parameter(torch.zeros(2))

    for mode, name in ((Forgetful, "scale"), (Negligent, "alpha")):
        with pytest.raises(ValueError, match=f"^{mode.__name__}: reset_parameters leaves stream.{name} unset$"):
            small(mode)


def test_weights_do_not_depend_on_where_the_model_was_built(small):
    with torch.device("meta"):
        model = LanguageModel(RESIDUAL["dhc"], **SIZES, norm_affine=True, qk_norm=True)
    model = model.to_empty(device="cpu")
    for parameter in model.parameters():
        parameter.data.fill_(float("nan"))
    model.reset_parameters(0)
    for a, b in zip(model.parameters(), small("dhc", norm_affine=True, qk_norm=True).parameters(), strict=True):
        assert torch.equal(a, b)
