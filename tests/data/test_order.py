import numpy as np
import pytest
from hcexp.data.order import epoch_permutation

from hcexp.data import batch_indices


def indices(steps: range, batch_size: int, sequences: int, seed: int = 3) -> np.ndarray:
    return np.concatenate([batch_indices(seed, step, batch_size, sequences) for step in steps])


@pytest.mark.parametrize(("batch_size", "sequences"), [(4, 20), (4, 21), (7, 5), (1, 1), (64, 3)])
def test_every_sequence_once_an_epoch(batch_size, sequences):
    order = indices(range(3 * sequences), batch_size, sequences)
    assert len(order) == 3 * batch_size * sequences
    for epoch in order.reshape(-1, sequences):
        assert sorted(epoch) == list(range(sequences))


def test_a_batch_depends_on_seed_and_step_alone():
    forwards = [batch_indices(0, step, 8, 50).tolist() for step in range(40)]
    epoch_permutation.cache_clear()
    backwards = [batch_indices(0, step, 8, 50).tolist() for step in reversed(range(40))]
    assert forwards == backwards[::-1]


def test_epochs_and_seeds_differ():
    permutations = {tuple(epoch_permutation(seed, epoch, 50)) for seed in range(4) for epoch in range(4)}
    assert len(permutations) == 16


def test_the_batch_size_only_cuts_the_order():
    np.testing.assert_array_equal(indices(range(30), 4, 17), indices(range(10), 12, 17))


def test_first_sequences_are_spread_over_all():
    firsts = [epoch_permutation(seed, 0, 10)[0] for seed in range(200)]
    assert set(firsts) == set(range(10))


def test_the_permutation_is_small_and_cannot_be_changed():
    order = epoch_permutation(0, 0, 10)
    assert order.dtype == np.uint32
    with pytest.raises(ValueError, match="read-only"):
        order[0] = 1


@pytest.mark.parametrize(
    ("name", "arguments"), [("seed", (-1, 0, 1, 1)), ("step", (0, -1, 1, 1)),
                            ("batch_size", (0, 0, 0, 1)), ("sequences", (0, 0, 1, 0))]
)  # fmt: skip
def test_arguments_out_of_range(name, arguments):
    with pytest.raises(ValueError, match=f"{name}=-?[01]: allowed is at least"):
        batch_indices(*arguments)
