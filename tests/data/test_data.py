"""What a data module of any task refuses."""

import pytest

from tests.task.data import Vectors


@pytest.mark.parametrize("size", [2**24 + 1, 10**9, 10**30])
def test_a_batch_that_no_machine_holds_is_named(size):
    data = Vectors(count=8, features=4, classes=2, batch_size=size, seed=0)
    with pytest.raises(ValueError, match=f"^data.batch_size={size}: allowed are at most 16,777,216 samples and "):
        data.batches()
