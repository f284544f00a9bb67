import pytest

from hcexp.cost import count_parameters
from hcexp.run import build_model, compose

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


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_shc_adds_its_matrices(n):
    counts = count("residual=shc", f"residual.n={n}")
    assert counts.residual == SUBLAYERS * n * (n + 2)  # A_m and A_r are n (n + 1), B is n
    assert counts.total == backbone() + counts.residual


@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_dhc_adds_its_projections_and_scales(n):
    counts = count("residual=dhc", f"residual.n={n}")
    assert counts.residual == SUBLAYERS * (n * (n + 2) + d * (n + 2) + 2)
    assert counts.total == backbone() + counts.residual
    assert count("residual=dhc", f"residual.n={n}", "residual.tanh=false") == counts


def test_weights_of_norms_belong_to_the_network():
    plain, affine = count("residual=pre_norm"), count("residual=pre_norm", "model.norm_affine=true")
    assert affine.total - plain.total == (SUBLAYERS + 1) * d
    assert affine.residual == 0
    dhc = count("residual=dhc", "residual.n=2", "residual.norm_affine=true")
    assert dhc.residual == count("residual=dhc", "residual.n=2").residual


@pytest.mark.parametrize("n", [1, 4])
def test_frozen_parts_are_counted_as_frozen(n):
    b, wc = SUBLAYERS * n, SUBLAYERS * n * (n + 1)
    shc = ["residual=shc", f"residual.n={n}"]
    assert count(*shc).frozen == 0
    assert count(*shc, "residual.train_b=false").frozen == b
    assert count(*shc, "residual.train_wc=false").frozen == wc
    dhc = ["residual=dhc", f"residual.n={n}"]
    assert count(*dhc, "residual.train_b=false").frozen == b + SUBLAYERS * (d + 1)
    assert count(*dhc, "residual.train_wc=false").frozen == wc + SUBLAYERS * (d * (n + 1) + 1)


def test_the_papers_1b_rows_to_the_last_integer():
    # Table 7: OLMo-1B and DHC×4.
    plain, dhc = (
        count_parameters(build_model(compose(["model=1b", mode]))) for mode in ("residual=pre_norm", "residual=dhc")
    )
    assert (plain.total, dhc.total, dhc.residual) == (1_176_764_416, 1_177_158_464, 394_048)
