import pytest
import torch
from lightning import LightningModule, Trainer

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


@pytest.mark.parametrize("tokens", [2, 5, 6, 7, 50, 51, 52])
def test_every_token_but_the_first_is_predicted_once_by_one_process(counting_store, tokens):
    store = counting_store(tokens)
    for batch_size in (1, 3, 16):
        windows = Windows(store, 5, batch_size)
        assert predictions(windows) == list(range(1, tokens))
        assert len(list(windows)) == len(windows)
    for world_size in (2, 3, 7, 20):
        shares = [Windows(store, 5, 2, rank, world_size) for rank in range(world_size)]
        assert sorted(sum(map(predictions, shares), [])) == list(range(1, tokens))
        shapes = {tuple(tuple(inputs.shape) for inputs, _ in share) for share in shares}
        assert len(shapes) == 1  # a sharded model waits for each other in every forward pass


def test_the_last_window_is_padded(counting_store):
    ((inputs, targets),) = Windows(counting_store(8), 5, 4)
    assert inputs.tolist() == [[0, 1, 2, 3, 4], [5, 6, 0, 0, 0]]
    assert targets.tolist() == [[1, 2, 3, 4, 5], [6, 7, IGNORED, IGNORED, IGNORED]]


def test_lightning_takes_the_loader_as_it_is(counting_store):
    class Model(LightningModule):
        seen = []

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.seen += batch[1][batch[1] != IGNORED].tolist()

    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer.validate(Model(), [Windows(counting_store(n), 5, 2) for n in (23, 8)], verbose=False)
    assert Model.seen == [*range(1, 23), *range(1, 8)]


def test_arguments_out_of_range(counting_store):
    store = counting_store(9)
    for arguments in [(0, 1, 0, 1), (5, 0, 0, 1), (5, 1, 1, 1), (5, 1, -1, 2), (5, 1, 0, 0)]:
        with pytest.raises(ValueError, match=r"=-?\d: allowed"):
            Windows(store, *arguments)
    with pytest.raises(ValueError, match="has 1 tokens: allowed is at least 2"):
        Windows(counting_store(1), 5, 1)
