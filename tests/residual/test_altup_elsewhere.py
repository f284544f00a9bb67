"""AltUp's prediction and correction against `Gemma3nTextAltUp` of `transformers`.

There P and g depend on the token: linear in the modalities `m = tanh(router(norm(x) / d))`, P = I + C(m) and
g = 1 + c(m), so that weights of zero are our initial values. Here its router says m = (1, 0, …) for every token, and
P - I and g - 1 are the first columns of the two matrices. C comes as rows i of P, like ours (`C[i, j]` weighs stream j
in stream i): the transposition in its code is for a product from the right. It differs in

- layout: streams are the first axis, (n, batch, seq, d);
- what the layer is given: the prediction of the active stream, not the stream as it was (Baykal et al., and ours);
- training, where it clips the prediction's weights in place and the correction's for use, both to ±altup_coef_clip
  (120 by default); ours are not clipped;
- the active stream: one for all layers (`active=fixed` is ours); a configuration for each layer here alternates;
- precision: the modalities are float32 whatever the streams are;
- what its network adds: streams that start as projections of the embedding, and end in a mean of projections; every
  stream but the first is given a gated input of its layer. None of this is AltUp's paper, and none is used here.
"""

import pytest
import torch
from torch import nn

from hcexp.residual import AltUp
from tests.residual import reference
from tests.residual.compare import assert_same, blocks, draw, literal, run
from tests.residual.conftest import NORMS, D, made

BLOCKS = 5
every_n = pytest.mark.parametrize("n", [1, 2, 3, 4])


def configuration(n, active, **knobs):
    from transformers import Gemma3nTextConfig

    return Gemma3nTextConfig(hidden_size=D, num_attention_heads=1, altup_num_inputs=n, altup_active_idx=active, **knobs)


def gemma(correction, **knobs):
    """Its module with our P and g, the same for every token, and our active stream."""
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextAltUp

    n = len(correction.g)
    module = Gemma3nTextAltUp(configuration(n, correction.active, **knobs)).double().eval()
    with torch.no_grad():
        module.modality_router = nn.Linear(D, n).double()
        module.modality_router.weight.zero_()
        module.modality_router.bias.copy_(40 * torch.eye(n)[0])  # tanh(40) is 1 in any precision
        module.prediction_coefs.weight.zero_()
        module.correction_coefs.weight.zero_()
        module.prediction_coefs.weight[:, 0] = (correction.P - torch.eye(n)).flatten()
        module.correction_coefs.weight[:, 0] = correction.g - 1
    return module


def altup(n, **knobs):
    return made(AltUp, NORMS["rms_norm"], n=n, blocks=BLOCKS, **knobs)


def corrections(stream):
    return [c.correction for c in stream.connections if c.correction is not None]


def carried(modules, stream, layers, h, *, reads_prediction=False):
    """Every state between layers, (n, batch, seq, d)."""
    states, sublayers = [torch.stack([h] * stream.n)], literal(stream, layers)
    size = len(sublayers) // len(modules)
    for i, module in enumerate(modules):
        predicted = module.predict(states[-1])
        x = (predicted if reads_prediction else states[-1])[module.config.altup_active_idx]
        states.append(module.correct(predicted, reference.pre_norm(x, sublayers[i * size : (i + 1) * size])))
    return states


@every_n
@pytest.mark.parametrize("active", ["alternating", "fixed"])
@pytest.mark.parametrize("per, size", [("block", 2), ("sublayer", 1)])
def test_agrees(n, active, per, size):
    """Every state, and the gradients to P, g, the embedding and the sublayers."""
    stream, layers, h = altup(n, active=active, per=per), blocks(D, BLOCKS), draw(2, 3, D)
    own = corrections(stream)
    assert [c.active for c in own] == [i % n if active == "alternating" else 0 for i in range(len(own))]
    modules = [gemma(c) for c in own]
    states, others = [s.H.movedim(-2, 0) for s in run(stream, layers, h)[0]], carried(modules, stream, layers, h)
    for state, other in zip(states[::size], others, strict=True):
        torch.testing.assert_close(state, other, rtol=1e-11, atol=1e-11)
    assert_same(states[-1], others[-1], [h, *layers.parameters()])
    weights = [w for m in modules for w in (m.prediction_coefs.weight, m.correction_coefs.weight)]
    weight = torch.randn(states[-1].shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = torch.autograd.grad((states[-1] * weight).sum(), [p for c in own for p in (c.P, c.g)])
    theirs = torch.autograd.grad((others[-1] * weight).sum(), weights)
    for gradient, wide in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient.flatten(), wide[:, 0], rtol=1e-9, atol=1e-9)
        assert gradient.any() and not wide[:, 1:].any()  # the other modalities are zero


@torch.no_grad()
@every_n
def test_prediction_and_correction_alone(n):
    """On streams that have nothing to do with each other, for each that can be active; and with weights of zero, which
    are our initial values."""
    H, computed, stream = draw(2, 3, n, D), draw(2, 3, D).exp(), altup(n)
    H_ = H.movedim(-2, 0)
    for correction in corrections(stream)[:n]:
        module = gemma(correction)
        predicted = torch.einsum("ij,btjd->ibtd", correction.P, H)
        torch.testing.assert_close(module.predict(H_), predicted, rtol=1e-12, atol=1e-12)
        corrected = module.correct(predicted, computed)
        torch.testing.assert_close(correction(H, computed).movedim(-2, 0), corrected, rtol=1e-12, atol=1e-12)
    stream.reset_parameters()
    module = gemma(corrections(stream)[0])
    assert not module.prediction_coefs.weight.any() and not module.correction_coefs.weight.any()
    assert torch.equal(module.predict(H_), H_)


@torch.no_grad()
def test_its_layer_reads_the_prediction():
    """Which is the stream itself only where P leaves the active one alone, as at the start."""
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextDecoderLayer

    sizes = {"num_hidden_layers": 1, "layer_types": ["full_attention"], "head_dim": D, "num_key_value_heads": 1}
    sizes |= {"intermediate_size": 8, "activation_sparsity_pattern": [0.0], "num_kv_shared_layers": 0}
    layer = Gemma3nTextDecoderLayer(configuration(3, 1, **sizes), 0).double().eval()
    stream, layers, h, given = altup(3), blocks(D, BLOCKS), draw(2, 3, D), []
    correction = corrections(stream)[1]
    layer.altup = gemma(correction)

    def look(module, args):
        given.append(args[0])
        raise StopIteration

    layer.input_layernorm.register_forward_pre_hook(look)
    H = draw(3, 2, 4, D)
    with pytest.raises(StopIteration):
        layer(H)
    torch.testing.assert_close(given[0], torch.einsum("j,jbtd->btd", correction.P[1], H), rtol=1e-12, atol=1e-12)
    assert (given[0] - H[1]).abs().max() > 0.1

    for leave_alone in (False, True):
        for c in corrections(stream):
            if leave_alone:
                c.P[c.active] = torch.eye(3)[c.active].double()
        modules = [gemma(c) for c in corrections(stream)]
        end = run(stream, layers, h)[0][-1].H.movedim(-2, 0)
        as_gemma = carried(modules, stream, layers, h, reads_prediction=True)[-1]
        assert torch.allclose(end, as_gemma, rtol=1e-10, atol=1e-10) == leave_alone


@torch.no_grad()
def test_it_clips_in_training_and_only_there():
    correction, H, computed = corrections(altup(3))[0], draw(3, 2, 3, D), draw(2, 3, D).exp()
    module, P, g = gemma(correction, altup_coef_clip=0.1), correction.P - torch.eye(3), correction.g - 1
    for clip in (torch.inf, 0.1):
        predicted = torch.einsum("ij,jbtd->ibtd", torch.eye(3) + P.clamp(-clip, clip), H)
        expected = predicted + (1 + g.clamp(-clip, clip))[:, None, None, None] * (computed - predicted[0])
        torch.testing.assert_close(module.correct(module.predict(H), computed), expected, rtol=1e-12, atol=1e-12)
        module.train()
    assert module.prediction_coefs.weight.abs().max() <= 0.1 < module.correction_coefs.weight.abs().max()
    assert configuration(3, 0).altup_coef_clip == 120


@torch.no_grad()
def test_its_modalities_are_float32():
    module, x = gemma(corrections(altup(2))[0]), draw(2, 3, D)
    torch.manual_seed(0)
    module.modality_router = nn.Linear(D, 2, bias=False).double()
    exact = torch.tanh(module.modality_router(x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() / D))
    assert 1e-12 < (module.compute_router_modalities(x) - exact).abs().max() < 1e-6
