from functools import cache, partial

import pytest
import torch
from hydra.utils import instantiate
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hcexp.configuration import build_model, compose
from hcexp.cost.flops import attention_flops, count_flops
from hcexp.model import LanguageModel
from hcexp.paper import printed, table
from hcexp.residual import Connection, PreNorm, hyper_connect
from hcexp.residual.norm_scale import norm_scale
from hcexp.residual.projection import normed_projection
from tests.cost.shared import sequences
from tests.registered import MODES

SIZES = {"model.d": 64, "model.layers": 2, "model.heads": 4, "model.inner": 80, "model.vocabulary_size": 300}
d, SUBLAYERS, ROWS = SIZES["model.d"], 2 * SIZES["model.layers"], 384
# What a sublayer's products cost at the least: one coefficient on one hidden vector.
VECTOR = 2 * d


@cache
def flops(*overrides, sequence_length=32):
    config = compose([*(f"{k}={v}" for k, v in SIZES.items()), *overrides])
    return count_flops(build_model(config), sequences(sequence_length))


def matrices(unembedding=d):
    """Operations a token of the network's matrices: 2 a weight."""
    return 2 * (SIZES["model.layers"] * (4 * d * d + 3 * d * SIZES["model.inner"]) + ROWS * unembedding)


@pytest.mark.parametrize("mode", ["pre_norm", "post_norm", "parallel", "two_hop", "resi_dual"])
def test_modes_that_only_add_and_norm_cost_nothing(mode):
    for norm in ("layer_norm", "rms_norm"):
        found = flops(f"residual={mode}", f"model.norm={norm}", "model.norm_affine=true")
        assert found == (matrices(), 3 * matrices(), 0), norm


@pytest.mark.parametrize("mode", MODES)
def test_the_network_is_two_a_weight_and_training_three_times_the_forward(mode):
    found = flops(f"residual={mode}")
    assert found.forward - found.residual == matrices()
    assert found.training == 3 * found.forward


@pytest.mark.parametrize("n", [1, 3, 8, 11])  # from 8 on, n (n + 1) coefficients a token are more than d
def test_shc_is_its_formula(n):
    found = flops("residual=shc", f"residual.n={n}")
    assert found.residual == SUBLAYERS * VECTOR * n * (n + 2) and found.training == 3 * found.forward


@pytest.mark.parametrize(
    ("n", "norm", "knob"),
    [
        (1, "layer_norm", "residual.tanh=false"),
        (2, "rms_norm", "residual.norm_affine=true"),
        (4, "layer_norm", "residual.norm_affine=true"),
        (4, "rms_norm", "residual.tanh=false"),
        (8, "layer_norm", "residual.tanh=true"),
        (11, "layer_norm", "residual.tanh=true"),
    ],
)
def test_dhc_predicts_its_coefficients_for_as_much_again(n, norm, knob):
    """Each of n streams is projected onto n + 2 numbers."""
    found = flops("residual=dhc", f"residual.n={n}", f"model.norm={norm}", knob)
    assert found.residual == 2 * SUBLAYERS * VECTOR * n * (n + 2) and found.training == 3 * found.forward


@pytest.mark.parametrize("n", [1, 3])
def test_altup_predicts_from_n_streams_and_corrects_n(n):
    layer = VECTOR * (n * n + n)
    assert flops("residual=altup", f"residual.n={n}").residual == SUBLAYERS // 2 * layer
    assert flops("residual=altup", f"residual.n={n}", "residual.per=sublayer").residual == SUBLAYERS * layer


def test_a_widened_embedding_makes_the_unembedding_dearer():
    recycled, widened = (flops("residual=altup", f"residual.embedding={e}") for e in ("recycled", "widened"))
    assert widened.residual == recycled.residual
    assert widened.forward - widened.residual == matrices(unembedding=2 * d)
    untied = flops("residual=altup", "residual.embedding=widened", "model.tied=false")
    assert untied == widened


def operator_flops(*overrides, length=8):
    """Of the plain operator with the mode's coefficients: what the algebra costs, where the code may do with less."""
    stream = instantiate(compose(list(overrides)).residual)(d, ("attention", "feed_forward"), nn.LayerNorm)
    stream.reset_parameters()
    state, counted = stream.expand(torch.randn(1, length, stream.embedding_dim)), 0
    for connection in stream.connections:
        output = torch.randn(1, length, d)
        B, A_m, A_r = connection.coefficients(state, output)
        with FlopCounterMode(display=False) as counter:
            hyper_connect(stream.streams(state), lambda x, output=output: output, (B, A_m, A_r))
        written = VECTOR * length * B.shape[-1]  # an outer product, which torch's counter does not know
        counted += (counter.get_total_flops() + written) / length
        state = connection(state, lambda x, output=output: output)
    return counted


def test_the_code_does_what_the_operator_needs_and_altup_does_with_less():
    for n in (2, 3):  # of one stream einsum makes no matrix product
        shc = flops("residual=shc", f"residual.n={n}").residual / SIZES["model.layers"]
        assert operator_flops("residual=shc", f"residual.n={n}") == shc
        # The coefficients of DHC come on top, and as many operations again go into them.
        assert operator_flops("residual=dhc", f"residual.n={n}") == shc
        # The operator multiplies by zeros and ones that AltUp's code never makes: picking the active stream, carrying
        # what a layer has made so far.
        needed = operator_flops("residual=altup", f"residual.n={n}", "residual.per=sublayer")
        assert needed == 2 * VECTOR * ((n + 1) ** 2 + 2 * (n + 1)) > 2 * VECTOR * (n * n + n)


@pytest.mark.parametrize("n", [1, 3])
def test_what_is_frozen_needs_no_gradient(n):
    shc = ["residual=shc", f"residual.n={n}"]
    whole = flops(*shc)
    b, wc = SUBLAYERS * VECTOR * n, SUBLAYERS * VECTOR * n * (n + 1)
    assert whole.training - flops(*shc, "residual.train_b=false").training == b
    assert whole.training - flops(*shc, "residual.train_wc=false").training == wc
    assert flops(*shc, "residual.train_wc=false").forward == whole.forward


class Applied(PreNorm):
    """Pre-norm with a connection that does one thing more to its hidden vectors, and may take its norm apart."""

    def __init__(self, d, kinds, norm, *, operation):
        super().__init__(d, kinds, norm)
        self.connections = nn.ModuleList(Applying(d, operation, norm) for _ in kinds)


class Applying(Connection):
    def __init__(self, d, operation, norm):
        super().__init__()
        self.operation, self.norm = operation, norm(d)
        self.one, self.vector = nn.Parameter(torch.ones(1, 1)), nn.Parameter(torch.ones(d))
        self.matrix, self.few = nn.Parameter(torch.ones(d, d)), nn.Parameter(torch.ones(3))

    def forward(self, h, sublayer, *context):
        return h + sublayer(h, *context) + 0 * self.operation(self, h).sum()

    def coefficients(self, h, output):
        raise NotImplementedError


PRODUCTS = {
    "matrix": (lambda c, h: h @ c.matrix, d),
    "matrix on the left": (lambda c, h: c.matrix @ h.mT, d),
    "einsum": (lambda c, h: torch.einsum("de,bsd->bse", c.matrix, h), d),
    "linear with bias": (lambda c, h: nn.functional.linear(h, c.matrix, c.vector), d),
    "vector": (lambda c, h: h @ c.vector, 1),
    "vector of one sequence": (lambda c, h: h[0] @ c.vector, 1),
    "gate": (lambda c, h: h * c.vector, 1),
    "gate in place": (lambda c, h: (h + 1).mul_(c.vector), 1),
    "one learned number": (lambda c, h: c.one * h, 1),
    "outer product": (lambda c, h: c.few.unsqueeze(-1) * h.unsqueeze(-2), 3),
    "outer product by einsum": (lambda c, h: torch.einsum("n,bsd->bsnd", c.few, h), 3),
    "added product": (lambda c, h: torch.addcmul(h, h, c.vector), 1),
    "added product of a number": (lambda c, h: torch.addcmul(c.vector[0], h, c.vector), 1),
    "two products": (lambda c, h: (h * c.vector) @ c.matrix, d + 1),
}


def flops_of(operation, **sizes):
    make = partial(Applied, operation=operation)
    with torch.device("meta"):
        model = LanguageModel(make, d=d, layers=1, heads=4, inner=80, vocabulary_size=300, **sizes)
    return count_flops(model, sequences(16))


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_counts_however_it_is_made(name):
    operation, vectors = PRODUCTS[name]
    assert flops_of(operation).residual == 2 * VECTOR * vectors


@pytest.mark.parametrize(
    "operation",
    [
        lambda c, h: h + h.roll(1, -1),
        lambda c, h: 2 * h / 3,
        lambda c, h: h * torch.tensor(2.0),
        lambda c, h: h.tanh().sigmoid().exp(),
        lambda c, h: nn.functional.layer_norm(h, h.shape[-1:]),
        lambda c, h: h.mean(-1) - h.sum(-1),
        lambda c, h: c.few * c.few.softmax(0),  # of coefficients
        lambda c, h: h[..., :3].tanh() * c.few,
        lambda c, h: h[..., :1].expand(-1, -1, d + 1) * torch.ones(d + 1),  # more than d numbers, and no vector
    ],
)
def test_what_is_no_product_of_hidden_vectors_does_not_count(operation):
    assert flops_of(operation).residual == 0


@pytest.mark.parametrize("norm", ["layer_norm", "rms_norm"])
@pytest.mark.parametrize(
    ("operation", "vectors"),
    [
        (lambda c, h: h + c.norm.eps, 0),
        (lambda c, h: norm_scale(c.norm, h), 0),
        (lambda c, h: h * norm_scale(c.norm, h), 1),
        (lambda c, h: c.norm(h), 0),
        (lambda c, h: normed_projection(h, c.matrix[:, :3], c.norm), 3),
    ],
)
def test_a_mode_may_take_its_norm_apart(norm, operation, vectors):
    found = flops_of(operation, norm=norm)
    assert found.residual == 2 * VECTOR * vectors and found.training == 3 * found.forward


def test_the_length_of_the_sequence_changes_nothing_but_attention():
    for mode in ("pre_norm", "dhc", "altup"):
        assert flops(f"residual={mode}") == flops(f"residual={mode}", sequence_length=64)


def test_attention_is_what_torch_counts_of_scores_and_values():
    model = build_model(compose([f"{k}={v}" for k, v in SIZES.items()]))
    with FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 32, dtype=torch.long, device="meta"))
    by_operation = counter.get_flop_counts()["Global"]
    assert by_operation[torch.ops.aten.bmm] == 32 * attention_flops(model, 32)
    assert attention_flops(model, 64) == 2 * attention_flops(model, 32)


def test_what_checkpointing_makes_a_second_time_does_not_count():
    sizes = ["residual=dhc", "model.inner=96"]  # a network that no other test has counted
    with_it = flops(*sizes, "model.activation_checkpointing=true")
    assert with_it == flops(*sizes) and with_it.training == pytest.approx(3 * with_it.forward, rel=0.01)


def test_the_model_stays_where_it_is():
    model = build_model(compose([*(f"{k}={v}" for k, v in SIZES.items()), "residual=dhc"]))
    names = [name for name, _ in model.named_parameters()]
    assert count_flops(model, sequences(16)).residual > 0
    assert all(p.is_meta for p in model.parameters()) and names == [name for name, _ in model.named_parameters()]


TABLE_8 = {
    "OLMo-1B": ("1b", "pre_norm", None),
    "SHC×2": ("1b", "shc", 2),
    "SHC×4": ("1b", "shc", 4),
    "DHC×2": ("1b", "dhc", 2),
    "DHC×4": ("1b", "dhc", 4),
    "OLMo-7B": ("7b", "pre_norm", None),
    "OLMo-7B-DHC×4": ("7b", "dhc", 4),
}


@pytest.mark.parametrize(
    "label", [pytest.param(label, marks=[] if label == "DHC×4" else pytest.mark.slow) for label in TABLE_8]
)
def test_table_8_to_a_thousandth(label):
    assert set(TABLE_8) == {label for label in table(8).labels if "MoE" not in label}, "none is left out"
    model, mode, n = TABLE_8[label]
    config = compose([f"model={model}", f"residual={mode}", *([] if n is None else [f"residual.n={n}"])])
    found = count_flops(build_model(config), sequences(2048))
    row = printed(8, label).row
    assert found.forward / 1e9 == pytest.approx(row["total_gflops"], rel=1e-3)
    if mode == "shc":
        assert round(found.residual / 1e9, 4) == row["hc_gflops"]
    if mode == "dhc":  # the paper leaves a part of the projection out
        assert row["hc_gflops"] < found.residual / 1e9 < 1.3 * row["hc_gflops"]
