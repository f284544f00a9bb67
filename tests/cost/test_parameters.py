import pytest

from hcexp.configuration import build_model, compose
from hcexp.cost.parameters import count_parameters
from hcexp.paper import printed, table

SIZES = {"model.d": 48, "model.layers": 3, "model.heads": 4, "model.inner": 80, "model.vocabulary_size": 300}
d, SUBLAYERS = SIZES["model.d"], 2 * SIZES["model.layers"]


def count(*overrides):
    return count_parameters(build_model(compose([*(f"{k}={v}" for k, v in SIZES.items()), *overrides])))


def backbone(tied=True):
    """Embedding of 384 rows; queries, keys, values and their output; gate, up and down."""
    block = 4 * d * d + 3 * d * SIZES["model.inner"]
    return 384 * d * (1 if tied else 2) + SIZES["model.layers"] * block


def test_pre_norm_is_the_backbone():
    assert count("residual=pre_norm") == (backbone(), 0, 0)
    assert count("residual=pre_norm", "model.tied=false").total == backbone(tied=False)


@pytest.mark.parametrize("n", [1, 3, 8])
def test_hyper_connections_add_their_matrices_projections_and_scales(n):
    static = SUBLAYERS * n * (n + 2)  # A_m and A_r are n (n + 1), B is n
    assert count("residual=shc", f"residual.n={n}")[:2] == (backbone() + static, static)
    dynamic = static + SUBLAYERS * (d * (n + 2) + 2)
    for tanh in ("true", "false"):
        counts = count("residual=dhc", f"residual.n={n}", f"residual.tanh={tanh}")
        assert counts[:2] == (backbone() + dynamic, dynamic)


@pytest.mark.parametrize(
    ("mode", "norms"),
    [("pre_norm", SUBLAYERS + 1), ("post_norm", SUBLAYERS), ("resi_dual", SUBLAYERS + 1), ("dhc", SUBLAYERS + 1)],
)
def test_one_norm_a_sublayer_and_the_final_one_belong_to_the_network(mode, norms):
    plain, affine = (count(f"residual={mode}", f"model.norm_affine={affine}") for affine in ("false", "true"))
    assert affine.total - plain.total == norms * d
    assert affine.residual == plain.residual


def test_a_norm_that_the_mode_has_besides_is_its_own():
    without, own = (count("residual=dhc", f"residual.norm_affine={affine}") for affine in ("false", "true"))
    assert own.residual - without.residual == own.total - without.total == SUBLAYERS * d
    # With weights in the network's norms as well, a connection has two, and one of them is the mode's.
    both = count("residual=dhc", "residual.norm_affine=true", "model.norm_affine=true")
    assert both.residual == own.residual and both.total - own.total == (SUBLAYERS + 1) * d


def test_altup_adds_a_correction_a_layer():
    for n in (1, 3):
        altup = ["residual=altup", f"residual.n={n}"]
        assert count(*altup).residual == SUBLAYERS // 2 * n * (n + 1)
        assert count(*altup, "residual.per=sublayer").residual == SUBLAYERS * n * (n + 1)


def test_a_widened_embedding_changes_the_network_and_not_the_mode():
    recycled, widened = (
        count("residual=altup", "residual.n=3", f"residual.embedding={embedding}", "model.norm_affine=true")
        for embedding in ("recycled", "widened")
    )
    assert widened.residual == recycled.residual
    assert widened.total - recycled.total == 2 * d * (384 + 1)  # of the embedding, and of the final norm


@pytest.mark.parametrize("n", [1, 4])
def test_frozen_parts_are_counted_as_frozen(n):
    b, wc = SUBLAYERS * n, SUBLAYERS * n * (n + 1)
    for mode, of_b, of_wc in (("shc", 0, 0), ("dhc", d + 1, d * (n + 1) + 1)):
        options = [f"residual={mode}", f"residual.n={n}"]
        assert count(*options).frozen == 0
        assert count(*options, "residual.train_b=false").frozen == b + SUBLAYERS * of_b
        assert count(*options, "residual.train_wc=false").frozen == wc + SUBLAYERS * of_wc


# The rows of Table 7, but for those of a mixture of experts: (label, model, residual mode).
TABLE_7 = [
    ("OLMo-1B", "1b", ["residual=pre_norm"]),
    ("SHC×2", "1b", ["residual=shc", "residual.n=2"]),
    ("SHC×4", "1b", ["residual=shc", "residual.n=4"]),
    ("DHC×2", "1b", ["residual=dhc", "residual.n=2"]),
    ("DHC×4", "1b", ["residual=dhc", "residual.n=4"]),
    ("OLMo-7B", "7b", ["residual=pre_norm"]),
    ("OLMo-7B-DHC×4", "7b", ["residual=dhc", "residual.n=4"]),
]


@pytest.mark.parametrize(("label", "model", "mode"), TABLE_7, ids=[label for label, *_ in TABLE_7])
def test_table_7_to_the_last_integer(label, model, mode):
    assert {label for label, *_ in TABLE_7} == {label for label in table(7).labels if "MoE" not in label}
    row = printed(7, label).row
    counts = count_parameters(build_model(compose([f"model={model}", *mode])))
    assert counts.total == row["total_exact"]
    assert counts.residual == (row["hc_params_exact"] or 0)
    assert f"{counts.total / 1e9:.8f}" == f"{row['total_b']:.8f}"
