import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcexp.data import batches as module
from hcexp.data.batches import MicroBatches, StepLoader, batch_indices, epoch_order, row_keys
from hcexp.data.text.samples import TokenSamples
from tests.task.data import Vectors


class Numbers(list):
    """Samples that say which they are, and with which keys they were asked for."""

    def batch(self, rows, keys):
        return torch.tensor(rows), list(keys)


NUMBERS = Numbers(range(19))


def indices(steps: range, batch_size: int, samples: int, seed: int = 3, cache=None) -> list[int]:
    return [int(i) for step in steps for i in batch_indices(seed, step, batch_size, samples, cache)]


def test_every_sample_once_an_epoch_in_an_order_of_its_own():
    for batch_size, samples in ((4, 20), (4, 21), (7, 5), (1, 1), (64, 3)):
        order = indices(range(3 * samples), batch_size, samples)
        assert len(order) == 3 * batch_size * samples
        assert all(sorted(epoch) == list(range(samples)) for epoch in np.reshape(order, (-1, samples)))
    assert len({tuple(epoch_order(seed, epoch, 50)) for seed in range(4) for epoch in range(4)}) == 16
    assert {int(epoch_order(seed, 0, 10)[0]) for seed in range(200)} == set(range(10))


def test_an_order_is_of_the_seed_and_a_key_of_seed_step_and_place_alone():
    """Runs are compared by seed, and go on with the batches that they began with."""
    assert batch_indices(5, 3, 6, 11).tolist() == [10, 9, 3, 1, 4, 2]
    assert batch_indices(0, 0, 8, 1000).tolist() == [459, 206, 222, 162, 711, 814, 350, 890]
    assert indices(range(30), 4, 17) == indices(range(10), 12, 17)  # the size of a batch only cuts it
    with pytest.raises(ValueError, match="read-only"):  # it is shared by all who ask
        epoch_order(0, 0, 10)[0] = 1
    keys = [int(key) for seed in range(3) for step in range(5) for key in row_keys(seed, step, 20)]
    assert len(set(keys)) == len(keys) and all(0 <= key < 2**64 for key in keys) and max(keys) > 2**62
    assert row_keys(2, 4, 20)[:7].tolist() == row_keys(2, 4, 7).tolist()


def test_an_order_of_very_many_lies_in_the_cache_and_is_the_same(tmp_path, monkeypatch):
    in_memory = indices(range(30), 7, 50)
    assert indices(range(30), 7, 50, cache=tmp_path) == in_memory
    assert not list(tmp_path.iterdir())  # few need no cache
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 49)
    with monkeypatch.context() as patch:
        for _ in range(2):
            module._order_file.cache_clear()
            assert indices(range(30), 7, 50, cache=tmp_path / "cache") == in_memory
            patch.setattr(module, "_draw_order", None)  # another process finds it
    files = sorted((tmp_path / "cache").glob("*.bin"))
    assert [file.name for file in files] == [f"order-50-3-{epoch}.bin" for epoch in range(5)]
    os.truncate(files[0], 100)
    with pytest.raises(OSError, match=f"{files[0]} is damaged: delete it"):
        module._read_order(files[0], 20, 7, 50)
    module._order_file.cache_clear()  # what is cut short is drawn again
    assert indices(range(1), 7, 50, cache=tmp_path / "cache") == in_memory[:7]


def test_processes_draw_one_order(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(module, "MOST_IN_MEMORY", 9)
    ask = lambda: batch_indices(1, 0, 5, 20, tmp_path / "cache").tolist()  # noqa: E731
    assert at_once(ask, 3, module, "_draw_order") == ([epoch_order(1, 0, 20)[:5].tolist()] * 3, 1)


def test_processes_and_micro_batches_together_are_the_global_batch():
    for world_size, accumulate in [(1, 1), (1, 3), (4, 1), (2, 3), (3, 4)]:
        for step in range(4):
            rows, keys = MicroBatches(NUMBERS, 12, 1)[step]
            parts = [
                MicroBatches(NUMBERS, 12, 1, accumulate, rank, world_size)[step * accumulate + micro]
                for rank in range(world_size) for micro in range(accumulate)
            ]  # fmt: skip
            assert {len(part) for part, _ in parts} == {12 // (world_size * accumulate)}
            assert torch.equal(torch.cat([part for part, _ in parts]), rows)
            assert [key for _, some in parts for key in some] == keys


def test_an_epoch_of_a_stream_predicts_every_token_once(counting_store):
    samples = TokenSamples(counting_store(62), 5)
    assert len(samples) == 12  # 61 predictions: the last is in no whole sequence
    inputs, targets = map(torch.cat, zip(*(MicroBatches(samples, 4, 1)[step] for step in range(3)), strict=True))
    assert inputs.shape == (12, 5) and inputs.dtype == targets.dtype == torch.int64
    starts = torch.tensor(indices(range(3), 4, 12, seed=1))[:, None] * 5
    assert torch.equal(inputs, starts + torch.arange(5))  # token i of the store is i
    assert torch.equal(targets, inputs + 1)


def vectors(batch_size: int, workers: int = 0) -> Vectors:
    data = Vectors(count=19, features=4, classes=2, batch_size=batch_size, seed=0)
    data.workers = workers
    return data


def test_what_does_not_fit_names_the_knobs():
    knobs = r"data.batch_size=16 .* 2 .*trainer.devices .*trainer.num_nodes.* 3 .*trainer.accumulate_grad_batches"
    size = 2**24 + 1
    for act, message in [
        (lambda: MicroBatches(NUMBERS, 16, 0, accumulate=3, world_size=2), f"{knobs}.*multiples of 6"),
        (lambda: MicroBatches(NUMBERS, 16, 0, accumulate=0), "accumulate_grad_batches=0: allowed is at least 1"),
        (lambda: vectors(8).train_loader(SimpleNamespace(max_steps=-1)), r"trainer\.max_steps=-1"),
        (lambda: vectors(size).batches(), f"^data.batch_size={size}: allowed are at most 16,777,216 samples and "),
        (lambda: batch_indices(-1, 0, 1, 1), "seed=-1: allowed is at least 0"),
        (lambda: batch_indices(0, -1, 1, 1), "step=-1: allowed is at least 0"),
        (lambda: batch_indices(0, 0, 0, 1), "batch_size=0: allowed is at least 1"),
        (lambda: batch_indices(0, 0, 1, 0), "samples=0: allowed is at least 1"),
    ]:
        with pytest.raises(ValueError, match=message):
            act()


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loader_begins_at_the_step_of_the_moment(workers):
    trainer = SimpleNamespace(max_steps=5, global_step=0, accumulate_grad_batches=2, global_rank=1, world_size=2)
    data = vectors(8, workers)
    loader, batches = data.train_loader(trainer), data.batches(accumulate=2, rank=1, world_size=2)
    assert len(loader) == 10
    for step in (3, 5):
        trainer.global_step = step
        begun = iter(loader)
        trainer.global_step = 0  # whatever comes later
        assert [inputs.tolist() for inputs, _ in begun] == [batches[i][0].tolist() for i in range(2 * step, 10)]


@pytest.mark.parametrize("workers", [0, 1])
def test_a_shard_that_cannot_be_read_is_one_line_whoever_reads_it(counting_store, workers):
    store = counting_store(100, shard_tokens=50)
    loader = iter(StepLoader(MicroBatches(TokenSamples(store, 5), 4, 0), lambda: 0, steps=500, workers=workers))
    next(loader)
    os.truncate(store.folder / "tokens-00001.bin", 0)
    with pytest.raises(OSError, match=r"^shard .*tokens-00001.bin cannot be read \(it ends at byte \d+\): [^\n]*$"):
        list(loader)
