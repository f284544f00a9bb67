import pytest
import torch

from hcexp.evaluation import Windows
from hcexp.evaluation.perplexity.windows import IGNORED


def predictions(windows: Windows) -> list[int]:
    """The targets that count, each checked against its input."""
    seen = []
    for inputs, targets in windows:
        assert inputs.shape == targets.shape and inputs.dtype == targets.dtype == torch.int64
        counts = targets != IGNORED
        assert torch.equal(inputs[counts] + 1, targets[counts])  # token i of the store is i
        seen += targets[counts].tolist()
    return seen


@pytest.mark.parametrize("tokens", [2, 5, 6, 7, 52])
def test_every_token_but_the_first_is_predicted_once_by_one_process(counting_store, tokens):
    store = counting_store(tokens)
    for batch_size in (1, 3, 16):
        windows = Windows(store, 5, batch_size)
        assert predictions(windows) == list(range(1, tokens))
        assert len(list(windows)) == len(windows)
    for world_size in (2, 7, 20):
        shares = [Windows(store, 5, 2, rank, world_size) for rank in range(world_size)]
        assert sorted(sum(map(predictions, shares), [])) == list(range(1, tokens))
        shapes = {tuple(tuple(inputs.shape) for inputs, _ in share) for share in shares}
        assert len(shapes) == 1  # a sharded model waits for each other in every forward pass


def test_the_last_window_is_padded_and_arguments_out_of_range_are_refused(counting_store):
    store = counting_store(8)
    ((inputs, targets),) = Windows(store, 5, 4)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, 0, 0, 0]]
    assert targets.tolist() == [[1, 2, 3, 4, 5], [6, 7, IGNORED, IGNORED, IGNORED]]
    for arguments in [(0, 1, 0, 1), (5, 0, 0, 1), (5, 1, 1, 1), (5, 1, -1, 2)]:
        with pytest.raises(ValueError, match=r"=-?\d: allowed"):
            Windows(store, *arguments)
    with pytest.raises(ValueError, match="has 1 tokens: allowed is at least 2"):
        Windows(counting_store(1), 5, 1)
