"""What a trace of a whole language model holds."""

import pytest
import torch

from hcexp.residual.unfolding import unfold
from tests.analysis.models import D, L, network, perturbed, tokens, trace
from tests.registered import MODES


@pytest.mark.parametrize("mode", MODES)
def test_every_input_of_a_real_model_is_rebuilt(mode):
    model = perturbed(mode)
    kept, stream = trace(model, tokens(2, 7)), model.stream
    assert len(kept.inputs) == len(kept.outputs) == len(kept.coefficients) == L
    unfolded = unfold(stream.expand_weights(), kept.coefficients, stream.reduce_weights(kept.states[-1]))
    T = torch.cat((kept.embedding.unflatten(-1, (-1, D)), torch.stack(kept.outputs, dim=-2)), dim=-2)
    inputs = unfolded.C_0 @ T
    for k, connection in enumerate(stream.connections):
        torch.testing.assert_close(connection.normed(inputs[..., k, :]), kept.inputs[k], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_trace_leaves_the_model_as_it_was(compiled):
    model = network("pre_norm", layers=1)
    expected = model(tokens(1, 5)).detach()
    if compiled:
        for block in model.blocks:
            block.compile(backend="eager")
    trace(model, tokens(1, 5))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    torch.testing.assert_close(model(tokens(1, 5)), expected)
