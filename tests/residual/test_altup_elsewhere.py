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
from tests.residual.compare import assert_same, blocks, bound, draw, run
from tests.residual.conftest import NORMS, perturb

D, BLOCKS = 6, 5
KINDS = ("attention", "feed_forward") * BLOCKS
every_n = pytest.mark.parametrize("n", [1, 2, 3, 4])


def configuration(n, active, **knobs):
    from transformers import Gemma3nTextConfig

    return Gemma3nTextConfig(hidden_size=D, num_attention_heads=1, altup_num_inputs=n, altup_active_idx=active, **knobs)


def gemma(n, active, P=None, g=None, **knobs):
    """Its module with our P and g, the same for every token; without them, as it starts: its weights at zero."""
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextAltUp

    module = Gemma3nTextAltUp(configuration(n, active, **knobs)).double().eval()
    router = nn.Linear(D, n).double()
    with torch.no_grad():
        router.weight.zero_()
        router.bias.copy_(40 * torch.eye(n)[0])  # tanh(40) is 1 in any precision
        module.modality_router = router
        module.prediction_coefs.weight.zero_()
        module.correction_coefs.weight.zero_()
        if P is not None:
            module.prediction_coefs.weight[:, 0] = (P - torch.eye(n).double()).flatten()
            module.correction_coefs.weight[:, 0] = g - 1
    return module


def altup(n, active="alternating", per="block"):
    stream = AltUp(D, KINDS, NORMS["rms_norm"], n=n, active=active, per=per).double()
    stream.reset_parameters()
    perturb(stream)
    return stream


def corrections(stream):
    return [c.correction for c in stream.connections if c.correction is not None]


def carried(modules, groups, h, n, *, reads_prediction=False):
    """Every state between layers, (n, batch, seq, d)."""
    states = [torch.stack([h] * n)]
    for module, group in zip(modules, groups, strict=True):
        predicted = module.predict(states[-1])
        x = (predicted if reads_prediction else states[-1])[module.config.altup_active_idx]
        states.append(module.correct(predicted, reference.pre_norm(x, group)))
    return states


def grouped(stream, layers, size):
    sublayers = list(zip(bound(layers), [reference.as_written(c.norm) for c in stream.connections], strict=True))
    return [sublayers[i : i + size] for i in range(0, len(sublayers), size)]


@every_n
@pytest.mark.parametrize("active", ["alternating", "fixed"])
@pytest.mark.parametrize("per, size", [("block", 2), ("sublayer", 1)])
def test_agrees(n, active, per, size):
    """Every state, and the gradients to P, g, the embedding and the sublayers."""
    stream, layers, h = altup(n, active, per), blocks(D, BLOCKS), draw(2, 3, D)
    own = corrections(stream)
    modules = [gemma(n, i % n if active == "alternating" else 0, c.P, c.g) for i, c in enumerate(own)]
    states, _ = run(stream, layers, h)
    others = carried(modules, grouped(stream, layers, size), h, n)
    for state, other in zip(states[::size], others, strict=True):
        torch.testing.assert_close(state.H.movedim(-2, 0), other, rtol=1e-11, atol=1e-11)
    last, other = states[-1].H.movedim(-2, 0), others[-1]
    assert_same(last, other, [h, *layers.parameters()])
    weight = torch.randn(last.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    ours = torch.autograd.grad((last * weight).sum(), [p for c in own for p in (c.P, c.g)])
    weights = [w for m in modules for w in (m.prediction_coefs.weight, m.correction_coefs.weight)]
    theirs = torch.autograd.grad((other * weight).sum(), weights)
    for gradient, wide in zip(ours, theirs, strict=True):
        torch.testing.assert_close(gradient.flatten(), wide[:, 0], rtol=1e-9, atol=1e-9)
        assert gradient.any() and not wide[:, 1:].any()  # the other modalities are zero


@torch.no_grad()
@every_n
def test_prediction_and_correction_alone(n):
    """On streams that have nothing to do with each other, for each that can be active."""
    for active in range(n):
        H, computed = draw(2, 3, n, D), draw(2, 3, D).exp()
        correction = corrections(altup(n))[active]
        module = gemma(n, active, correction.P, correction.g)
        correction.active = active
        corrected = module.correct(module.predict(H.movedim(-2, 0)), computed)
        torch.testing.assert_close(correction(H, computed).movedim(-2, 0), corrected, rtol=1e-12, atol=1e-12)
        predicted = torch.einsum("ij,btjd->ibtd", correction.P, H)
        torch.testing.assert_close(module.predict(H.movedim(-2, 0)), predicted, rtol=1e-12, atol=1e-12)


@torch.no_grad()
@every_n
def test_weights_of_zero_are_our_initial_values(n):
    stream = altup(n)
    stream.reset_parameters()
    correction, H, computed = corrections(stream)[0], draw(2, 3, n, D), draw(2, 3, D).exp()
    module = gemma(n, 0)
    assert torch.equal(module.predict(H.movedim(-2, 0)), H.movedim(-2, 0))
    torch.testing.assert_close(
        correction(H, computed).movedim(-2, 0), module.correct(H.movedim(-2, 0), computed), rtol=1e-13, atol=1e-13
    )


@torch.no_grad()
def test_its_layer_reads_the_prediction():
    """Which is the stream itself only where P leaves the active one alone, as at the start."""
    from transformers.models.gemma3n.modeling_gemma3n import Gemma3nTextDecoderLayer

    sizes = {"num_hidden_layers": 1, "layer_types": ["full_attention"], "head_dim": D, "num_key_value_heads": 1}
    sizes |= {"intermediate_size": 8, "activation_sparsity_pattern": [0.0], "num_kv_shared_layers": 0}
    layer = Gemma3nTextDecoderLayer(configuration(3, 1, **sizes), 0).double().eval()
    correction = corrections(altup(3))[1]
    layer.altup = gemma(3, 1, correction.P, correction.g)
    given = []

    def look(module, args):
        given.append(args[0])
        raise StopIteration

    layer.input_layernorm.register_forward_pre_hook(look)
    H = draw(3, 2, 4, D)
    with pytest.raises(StopIteration):
        layer(H)
    torch.testing.assert_close(given[0], torch.einsum("j,jbtd->btd", correction.P[1], H), rtol=1e-12, atol=1e-12)
    assert (given[0] - H[1]).abs().max() > 0.1

    stream, layers, h = altup(3), blocks(D, BLOCKS), draw(2, 3, D)
    for leave_alone in (False, True):
        for i, c in enumerate(corrections(stream)):
            if leave_alone:
                c.P[i % 3] = torch.eye(3)[i % 3].double()
        modules = [gemma(3, i % 3, c.P, c.g) for i, c in enumerate(corrections(stream))]
        end = run(stream, layers, h)[0][-1].H.movedim(-2, 0)
        as_gemma = carried(modules, grouped(stream, layers, 2), h, 3, reads_prediction=True)[-1]
        assert torch.allclose(end, as_gemma, rtol=1e-10, atol=1e-10) == leave_alone


@torch.no_grad()
def test_it_clips_in_training_and_only_there():
    correction, H, computed = corrections(altup(3))[0], draw(2, 3, 3, D), draw(2, 3, D).exp()
    module = gemma(3, 0, correction.P, correction.g, altup_coef_clip=0.1)
    H_ = H.movedim(-2, 0)
    assert max((correction.P - torch.eye(3)).abs().max(), (correction.g - 1).abs().max()) > 0.1
    before = module.correct(module.predict(H_), computed)
    torch.testing.assert_close(before, correction(H, computed).movedim(-2, 0), rtol=1e-12, atol=1e-12)
    module.train()
    clipped = module.correct(module.predict(H_), computed)
    P = torch.eye(3) + (correction.P - torch.eye(3)).clamp(-0.1, 0.1)
    predicted = torch.einsum("ij,jbtd->ibtd", P, H_)
    g = 1 + (correction.g - 1).clamp(-0.1, 0.1)
    expected = predicted + g[:, None, None, None] * (computed - predicted[0])
    torch.testing.assert_close(clipped, expected, rtol=1e-12, atol=1e-12)
    assert module.prediction_coefs.weight.abs().max() <= 0.1 < module.correction_coefs.weight.abs().max()
    assert configuration(3, 0).altup_coef_clip == 120


@torch.no_grad()
def test_its_modalities_are_float32():
    module = gemma(2, 0)
    torch.manual_seed(0)
    module.modality_router = nn.Linear(D, 2, bias=False).double()
    x = draw(2, 3, D)
    exact = torch.tanh(module.modality_router(x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() / D))
    off = (module.compute_router_modalities(x) - exact).abs().max()
    assert 1e-12 < off < 1e-6
