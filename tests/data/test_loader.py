import os

import pytest
import torch
from hcexp.data.loader import MicroBatches, StepLoader
from hcexp.data.order import batch_indices


def test_a_batch_is_made_of_the_sequences_that_the_order_names(counting_store):
    batches = MicroBatches(counting_store(62), sequence_length=5, batch_size=4, seed=1)
    assert batches.sequences == 12  # 61 predictions: the last is in no whole sequence
    inputs, targets = batches[2]
    assert inputs.shape == targets.shape == (4, 5)
    assert inputs.dtype == targets.dtype == torch.int64
    starts = torch.from_numpy(batch_indices(1, 2, 4, 12))[:, None] * 5
    assert torch.equal(inputs, starts + torch.arange(5))  # token i of the store is i
    assert torch.equal(targets, inputs + 1)


def test_an_epoch_predicts_every_token_of_a_whole_sequence_once(counting_store):
    batches = MicroBatches(counting_store(61), sequence_length=5, batch_size=3, seed=0)
    targets = torch.cat([batches[i][1].flatten() for i in range(4)])
    assert targets.sort().values.tolist() == list(range(1, 61))


@pytest.mark.parametrize(("world_size", "accumulate"), [(1, 1), (1, 3), (4, 1), (2, 3), (3, 4), (12, 1)])
def test_processes_and_micro_batches_together_are_the_global_batch(counting_store, world_size, accumulate):
    def batches(*share):
        return MicroBatches(store, 5, 12, 1, *share)

    store = counting_store(100)
    for step in range(4):
        whole = batches()[step]
        parts = [
            batches(accumulate, rank, world_size)[step * accumulate + micro]
            for rank in range(world_size) for micro in range(accumulate)
        ]  # fmt: skip
        assert all(len(inputs) == 12 // (world_size * accumulate) for inputs, _ in parts)
        for i in (0, 1):
            assert torch.equal(torch.cat([part[i] for part in parts]), whole[i])


def test_a_batch_that_cannot_be_cut_names_the_knobs(counting_store):
    with pytest.raises(ValueError, match="multiples of 6") as error:
        MicroBatches(counting_store(100), 5, 16, 0, accumulate=3, world_size=2)
    for knob in ("data.batch_size=16", "trainer.devices", "trainer.accumulate_grad_batches"):
        assert knob in str(error.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_begins_at_the_step_of_the_moment(counting_store, workers):
    batches = MicroBatches(counting_store(100), 5, 4, 0, accumulate=2)
    now = 0
    loader = StepLoader(batches, lambda: now, steps=5, workers=workers)
    assert len(loader) == 10
    for now in (0, 3, 5):
        seen = [inputs for inputs, _ in loader]
        assert len(seen) == 2 * (5 - now)
        assert all(torch.equal(inputs, batches[2 * now + i][0]) for i, inputs in enumerate(seen))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_cannot_be_read_is_one_line_whoever_reads_it(counting_store, workers):
    store = counting_store(100, shard_tokens=50)
    loader = iter(StepLoader(MicroBatches(store, 5, 4, 0), lambda: 0, steps=500, workers=workers))
    next(loader)
    os.truncate(store.folder / "tokens-00001.bin", 0)
    with pytest.raises(OSError, match=r"^shard .*tokens-00001.bin cannot be read \(it ends at byte \d+\): [^\n]*$"):
        for _ in loader:
            pass
