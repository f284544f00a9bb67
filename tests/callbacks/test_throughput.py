import statistics
from types import SimpleNamespace

import pytest

from hcexp.callbacks import StepCheckpoint, Throughput, latest


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only where a test says so."""
    clock = SimpleNamespace(now=100.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr("hcexp.callbacks.throughput.time", clock)
    return clock


@pytest.fixture
def timed(regression, clock):
    """A module whose micro-batch i takes `seconds(i)`, one by default, and whose validation takes 1000 s a batch."""

    class Timed(regression):
        def __init__(self, seconds=lambda i: 1, **knobs):
            super().__init__(**knobs)
            self.seconds = seconds

        def training_step(self, batch, batch_idx):
            clock.now += self.seconds(len(self.seen))
            return super().training_step(batch, batch_idx)

        def validation_step(self, batch, batch_idx):
            clock.now += 1000

    return Timed


def test_the_median_since_the_last_point_without_the_warm_up(timed, memory, fit):
    throughput = Throughput(every=5, warmup=3)
    seconds = [50, 40, 30, 1, 2, 3, 4, 5, 600, 7, 1, 1, 1, 1, 1]
    fit(timed(lambda i: seconds[i]), [throughput], 15, memory)
    measured = dict(memory.curves["perf/tokens_per_second"])
    assert measured == pytest.approx({5: 1000 / 1.5, 10: 1000 / 5}), "the last step's point is that of the whole run"
    assert dict(memory.curves["perf/train_seconds"]) == pytest.approx({5: 123, 10: 742})
    assert throughput.metrics["perf/tokens_per_second"] == pytest.approx(1000 / statistics.median(seconds[3:]))
    assert throughput.metrics["perf/train_seconds"] == pytest.approx(sum(seconds))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_validation_and_checkpoints_belong_to_no_step(timed, memory, fit, clock, tmp_path, accumulate):
    class Slow(StepCheckpoint):
        def _save(self, trainer, pl_module):
            super()._save(trainer, pl_module)
            clock.now += 500

    throughput = Throughput(every=1, warmup=0)
    knobs = {"val_check_interval": 4, "limit_val_batches": 1, "accumulate_grad_batches": accumulate}
    fit(timed(), [throughput, Slow(3, folder=tmp_path)], 12, memory, **knobs)
    rates = [value for _, value in memory.curves["perf/tokens_per_second"]]
    assert rates == pytest.approx([1000 / accumulate] * 11)
    assert throughput.metrics["perf/train_seconds"] == pytest.approx(12 * accumulate)


def test_a_step_cut_by_validation_counts_as_time_but_not_as_speed(timed, memory, fit):
    throughput = Throughput(every=1, warmup=0)
    fit(timed(), [throughput], 6, memory, val_check_interval=3, limit_val_batches=1, accumulate_grad_batches=2)
    assert {value for _, value in memory.curves["perf/tokens_per_second"]} == {500.0}
    assert throughput.metrics["perf/train_seconds"] < 13


def test_a_resumed_run_adds_up(timed, memory, fit, tmp_path):
    fit(timed(lambda i: 2), [Throughput(every=5, warmup=2), StepCheckpoint(10, folder=tmp_path)], 10, memory)
    second = Throughput(every=5, warmup=2)
    callbacks = [second, StepCheckpoint(100, folder=tmp_path)]
    fit(timed(lambda i: 4 if i >= 2 else 90, start=10), callbacks, 16, memory, ckpt=latest(tmp_path))
    assert second.metrics["perf/train_seconds"] == pytest.approx(10 * 2 + 2 * 90 + 4 * 4)
    assert second.metrics["perf/tokens_per_second"] == pytest.approx(1000 / 2)  # eight steps of 2 s, four of 4 s


def test_where_samples_are_no_sequences_they_are_counted_but_not_while_all_steps_warm_up(timed, memory, fit):
    module = timed()
    module.tokens_per_step = None
    fit(module, [Throughput(every=5, warmup=0)], 6, memory)
    assert set(memory.curves) == {"perf/samples_per_second", "perf/peak_memory_bytes", "perf/train_seconds"}
    assert memory.curves["perf/samples_per_second"] == [(5, 10.0)]
    throughput = Throughput(every=2, warmup=10)
    fit(timed(), [throughput], 6, warming := type(memory)())
    assert not any("per_second" in name for name in (*warming.curves, *throughput.metrics))


def test_memory_of_the_process_is_bytes():
    held = bytearray(200 * 2**20)
    held[::4096] = b"\1" * len(held[::4096])  # touch every page
    assert 200 * 2**20 < Throughput()._peak_memory() < 2**40 and held
