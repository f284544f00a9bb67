"""Everything that is measured of a model, against the plainest way to compute it."""

import numpy as np
import pytest
import torch

from hcexp.analysis import survey
from hcexp.residual.unfolding import unfold
from tests.analysis.models import L, network, perturbed, tokens, trace
from tests.registered import MODES
from tests.residual.conftest import perturb


def by_token(model, batch):
    """Of every token, in order: its coefficients and streams at each sublayer, as numpy arrays."""
    found = []
    for sequence in batch.split(1):
        kept = trace(model, sequence)
        for position in range(sequence.shape[1]):
            coefficients = []
            for one in kept.coefficients:
                shapes = [weights.shape[weights.dim() - axes :] for weights, axes in zip(one, (1, 1, 2), strict=True)]
                wide = [w.expand(1, len(sequence[0]), *shape) for w, shape in zip(one, shapes, strict=True)]
                coefficients.append([weights[0, position].detach().numpy() for weights in wide])
            states = [model.stream.streams(state)[0, position].numpy() for state in kept.states]
            found.append((coefficients, states))
    return found


def cosine(a, b):
    return (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())


def rank(H):
    p = np.linalg.svd(H, compute_uv=False)
    p = p[p > 1e-12 * p.max()] / p.sum()
    return np.exp(-(p * np.log(p)).sum())


def share(weights):
    return np.abs(weights) / np.abs(weights).sum()


def row_sum(A):
    return max(sum(abs(cell) for cell in row) for row in A)


@pytest.mark.parametrize("mode", MODES)
def test_every_number_is_what_a_loop_over_tokens_gives(mode):
    model, batch = perturbed(mode), tokens(2, 6)
    found, by_hand = survey(model, [batch[:1], batch[1:]]), by_token(model, batch)
    assert found.tokens == len(by_hand) == 12 and found.kinds == model.stream.kinds
    assert not any(value.requires_grad for value in found[3:])

    inputs = np.array([[A_m @ H for (_, A_m, _), H in zip(one, states, strict=False)] for one, states in by_hand])
    pairs = [[cosine(x[k], x[k + 1]) for k in range(L - 1)] for x in inputs]
    np.testing.assert_allclose(found.sublayer_similarity, pairs, atol=1e-12)
    blocks = [[cosine(x[k], x[k + 2]) for k in range(0, L - 2, 2)] for x in inputs]
    np.testing.assert_allclose(found.block_similarity, blocks, atol=1e-12)

    for index, name in enumerate(("B", "A_m", "A_r")):
        expected = np.array([[layer[index] for layer in one] for one, _ in by_hand])
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-12)
    np.testing.assert_allclose(found.reads, np.mean([[share(c[1]) for c in one] for one, _ in by_hand], axis=0))
    np.testing.assert_allclose(found.writes, np.mean([[share(c[0]) for c in one] for one, _ in by_hand], axis=0))
    np.testing.assert_allclose(found.ranks, np.mean([[rank(H) for H in states] for _, states in by_hand], axis=0), 1e-6)

    products = np.array([[np.linalg.multi_dot([np.eye(len(one[0][0])), *(c[2] for c in one[: k + 1])])
                          for k in range(L)] for one, _ in by_hand])  # fmt: skip
    for number, sums in enumerate((lambda A: row_sum(A.T), row_sum)):
        each = [[sums(c[2]) for c in one] for one, _ in by_hand]
        np.testing.assert_allclose(found.sublayer_gains[number], np.mean(each, axis=0))
        composite = [[sums(A) for A in one] for one in products]
        np.testing.assert_allclose(found.composite_gains[number], np.mean(composite, axis=0))
        np.testing.assert_allclose(found.averaged_gains[number], [sums(A) for A in products.mean(axis=0)])

    kept, stream = trace(model, batch), model.stream
    whole = unfold(stream.expand_weights(), kept.coefficients, stream.reduce_weights(kept.states[-1]))
    for C, expected, axes in zip(found.connections[:2], whole[:2], (2, 3), strict=True):
        mean = expected.flatten(0, -axes - 1).mean(0) if expected.dim() > axes else expected
        torch.testing.assert_close(C, mean.double(), rtol=1e-12, atol=1e-12)


def test_what_is_compared_is_not_normed():
    model = network("dhc", norm="layer_norm")
    perturb(model, scale=0.3)
    batch = tokens(1, 6)
    kept, found = trace(model, batch), survey(model, [batch])
    x = [H.mT @ c.A_m.unsqueeze(-1) for H, c in zip(kept.states, kept.coefficients, strict=False)]
    normed = torch.cosine_similarity(kept.inputs[0], kept.inputs[1], dim=-1).flatten()
    plain = torch.cosine_similarity(x[0], x[1], dim=-2).flatten()
    torch.testing.assert_close(found.sublayer_similarity[:, 0], plain)
    assert (plain - normed).abs().max() > 1e-3


def test_pre_norm_has_one_stream_that_nothing_enlarges():
    found = survey(network("pre_norm"), [tokens(2, 5)])
    for gains in (found.sublayer_gains, found.composite_gains, found.averaged_gains):
        assert torch.equal(gains, torch.ones(2, L, dtype=torch.float64))
    assert torch.equal(found.A_r, torch.ones_like(found.A_r))
    torch.testing.assert_close(found.ranks, torch.ones(L + 1, dtype=torch.float64))
    assert torch.equal(found.reads, torch.ones(L, 1, dtype=torch.float64))


@pytest.mark.parametrize("mode", ["shc", "dhc"])
def test_hyper_connections_begin_as_pre_norm_in_every_stream(mode):
    plain, found = (survey(network(m), [tokens(2, 5)]) for m in ("pre_norm", mode))
    n = found.B.shape[-1]
    assert n > 1
    torch.testing.assert_close(found.connections.C_0[:-1], plain.connections.C_0[:-1])
    torch.testing.assert_close(found.connections.C_0[-1], n * plain.connections.C_0[-1])
    for C in found.connections.C:
        torch.testing.assert_close(C, plain.connections.C[0])
    assert torch.equal(found.composite_gains, plain.composite_gains)
    assert torch.equal(found.reads.argmax(dim=1), torch.arange(L) % n)
    torch.testing.assert_close(found.writes, torch.full((L, n), 1 / n, dtype=torch.float64))
    torch.testing.assert_close(found.ranks, plain.ranks, atol=1e-5, rtol=0)  # all streams are equal


def test_it_does_not_matter_how_the_sequences_come_in_batches():
    """The average is over tokens; those of empty batches do not count."""
    model = perturbed("dhc", scale=0.5)
    together = survey(model, [tokens(4, 6)])
    apart = survey(model, [tokens(4, 6)[:3], tokens(0, 6), tokens(4, 6)[3:]])
    for one, other in zip(
        (*together.connections[:2], *together[3:]), (*apart.connections[:2], *apart[3:]), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_a_half_precision_model_is_summed_up_in_float64():
    """A running sum in bfloat16 would stop growing at 256."""
    found = survey(network("shc", layers=1).bfloat16(), [tokens(1, 1)] * 300)
    assert found.tokens == 300
    assert {value.dtype for value in (*found.connections[:2], *found[3:])} == {torch.float64}
    torch.testing.assert_close(found.connections.C_0[1, 1].item(), 1.0, rtol=0, atol=1e-12)


def test_nothing_to_measure_and_a_model_that_diverged_are_refused():
    model = network("dhc")
    with pytest.raises(ValueError, match="^no tokens"):
        survey(model, [tokens(0, 4)])
    with torch.no_grad():
        model.blocks[1].feed_forward.out.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="^the streams are not finite after 4 sublayers"):
        survey(model, [tokens(1, 4)])
