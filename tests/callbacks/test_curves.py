import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcexp.callbacks import Curves, SpikeScore, StepCheckpoint, latest


def averages(losses, ema=0.99):
    average, out = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = ema * average + (1 - ema) * loss
        out.append(average / (1 - ema**step))
    return out


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_curves_are_those_computed_by_hand(regression, memory, fit, accumulate):
    module, curves = regression(), Curves(every=4, spike_warmup=5, spike_window=20, spike_threshold=1.2)
    fit(module, [curves], 30, memory, accumulate_grad_batches=accumulate)
    losses = np.array(module.seen).reshape(30, accumulate).mean(axis=1)
    points = [4, 8, 12, 16, 20, 24, 28, 30]
    assert [step for step, _ in memory.curves["train/loss"]] == points
    starts = [0, *points[:-1]]
    means = [losses[a:b].mean() for a, b in zip(starts, points, strict=True)]
    assert dict(memory.curves["train/loss"]) == pytest.approx(dict(zip(points, means, strict=True)))
    expected = averages(losses)
    assert dict(memory.curves["train/loss_ema99"]) == pytest.approx({p: expected[p - 1] for p in points})
    # the norm and the rate of this very step: the schedule has moved on by the time a callback sees the batch
    assert dict(memory.curves["train/grad_norm"]) == pytest.approx({p: module.grad_norms[p - 1] for p in points})
    assert dict(memory.curves["train/lr"]) == pytest.approx({p: 0.01 / p for p in points})
    for name, series in (("", losses), ("grad_norm_", module.grad_norms)):
        score = SpikeScore(threshold=1.2, window=20, warmup=5)
        counts = np.cumsum([score.update(value) for value in series])
        assert counts[-1] > 0
        assert dict(memory.curves[f"train/{name}spikes"]) == {p: counts[p - 1] for p in points}
        assert memory.curves[f"train/{name}spike_score"][-1] == (30, pytest.approx(counts[-1] / 25))
    assert curves.metrics["train/loss"] == memory.curves["train/loss"][-1][1]
    assert curves.metrics["train/loss_ema99"] == memory.curves["train/loss_ema99"][-1][1]


def test_a_run_that_is_stopped_early_has_no_point_that_an_uninterrupted_one_has_not(regression, memory, fit):
    class Stopped(regression):
        def on_train_batch_end(self, *_):
            self.trainer.should_stop = self.trainer.global_step == 10

    curves = Curves(every=4)
    fit(Stopped(), [curves], 30, memory)
    assert [step for step, _ in memory.curves["train/loss"]] == [4, 8]
    assert curves.state_dict()["count"] == 2


def test_a_short_last_accumulation_is_a_mean_of_what_there_was(regression, memory, fit):
    # 5 batches an epoch, accumulated by 2: Lightning steps after 2, 2 and 1
    module = regression(length=5)
    fit(module, [Curves(every=1)], 6, memory, accumulate_grad_batches=2)
    seen = module.seen
    expected = [sum(s) / len(s) for s in (seen[:2], seen[2:4], seen[4:5], seen[5:7], seen[7:9], seen[9:])]
    assert [value for _, value in memory.curves["train/loss"]] == pytest.approx(expected)


def test_the_name_of_the_average_tells_its_decay(regression, memory, fit):
    fit(regression(), [Curves(every=5, ema=0.999)], 5, memory)
    assert "train/loss_ema999" in memory.curves and "train/loss_ema99" not in memory.curves


def test_no_share_is_logged_before_a_step_was_judged(regression, memory, fit):
    fit(regression(), [Curves(every=5)], 20, memory)
    assert "train/spike_score" not in memory.curves
    assert memory.curves["train/spikes"][-1] == (20, 0)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("interrupted", [12, 13])  # at a point of the curve, and between two
def test_a_resumed_run_has_the_curves_of_an_uninterrupted_one(
    regression, memory, fit, tmp_path, accumulate, interrupted
):
    def curves():
        return Curves(every=4, spike_warmup=5, spike_window=10, spike_threshold=1.5)

    knobs = {"accumulate_grad_batches": accumulate}
    whole = curves()
    fit(regression(), [whole], 30, memory, **knobs)
    again = type(memory)()
    fit(regression(), [curves(), StepCheckpoint(5, folder=tmp_path)], interrupted, again, **knobs)
    again.curves = {name: [p for p in points if p[0] % 4 == 0] for name, points in again.curves.items()}
    resumed = curves()
    module = regression(start=interrupted * accumulate)
    fit(module, [resumed, StepCheckpoint(100, folder=tmp_path)], 30, again, ckpt=latest(tmp_path), **knobs)
    assert again.curves == memory.curves
    assert resumed.metrics == whole.metrics
    assert resumed.state_dict() == whole.state_dict()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_nan_ends_the_run_before_a_checkpoint_has_it(regression, fit, tmp_path, accumulate):
    module = regression(bad=[17 * accumulate])  # the 18th step
    with pytest.raises(FloatingPointError, match="^loss is nan at step 18 .*lr") as error:
        fit(
            module,
            [Curves(every=100), StepCheckpoint(5, folder=tmp_path)],
            40,
            accumulate_grad_batches=accumulate,
        )
    assert "\n" not in str(error.value)
    assert module.trainer.global_step == 20, "found when the next checkpoint was due, not earlier"
    assert sorted(path.name for path in tmp_path.glob("step=*")) == ["step=000010.ckpt", "step=000015.ckpt"]
    state = torch.load(latest(tmp_path), weights_only=True)
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())


def test_nan_ends_the_run_at_the_next_point(regression, fit):
    module = regression(bad=[17])
    with pytest.raises(FloatingPointError, match="step 18"):
        fit(module, [Curves(every=10)], 40)
    assert module.trainer.global_step == 20


def test_an_infinite_gradient_norm_ends_the_run(regression, fit):
    class Exploding(regression):
        def configure_gradient_clipping(self, *args, **kwargs):
            super().configure_gradient_clipping(*args, **kwargs)
            if self.trainer.global_step == 6:
                self.grad_norm = torch.tensor(math.inf)

    with pytest.raises(FloatingPointError, match="^gradient norm is inf at step 7 "):
        fit(Exploding(), [Curves(every=10)], 40)


def test_after_a_failure_no_checkpoint_can_be_written(regression, fit, tmp_path):
    module, curves = regression(bad=[3]), Curves(every=10)
    with pytest.raises(FloatingPointError):
        fit(module, [curves], 40)
    with pytest.raises(FloatingPointError, match="step 4"):
        module.trainer.save_checkpoint(tmp_path / "late.ckpt")
    assert not (tmp_path / "late.ckpt").exists()


def test_the_state_loads_with_weights_only(regression, fit, tmp_path):
    fit(regression(), [Curves(every=3), StepCheckpoint(7, folder=tmp_path)], 7)
    state = torch.load(latest(tmp_path), weights_only=True)["callbacks"]["Curves"]
    assert state["steps"] == 7
    restored = Curves()
    restored.load_state_dict(state)
    assert restored.state_dict() == state


def test_two_ranks_share_the_mean_of_their_losses(monkeypatch):
    other = torch.tensor([3.0, 5.0, 0.5, 0.7])  # losses, then gradient norms, of the other rank

    def trainer(mine):
        def reduce(rows, reduce_op):
            assert reduce_op == "mean" and torch.equal(rows, mine)
            return (rows + other) / 2

        return SimpleNamespace(world_size=2, strategy=SimpleNamespace(reduce=reduce))

    curves = Curves(ema=0.5)
    curves._losses, curves._grad_norms = [torch.tensor(1.0), torch.tensor(2.0)], [torch.tensor(0.5)] * 2
    curves._scales, curves._step, curves._scaler = [1.0, 1.0], 2, False
    curves.flush(trainer(torch.tensor([1.0, 2.0, 0.5, 0.5])))
    assert curves.metrics["train/loss"] == (2.0 + 3.5) / 2
    assert curves.metrics["train/loss_ema5"] == pytest.approx(averages([2.0, 3.5], 0.5)[-1])
    assert curves.metrics["train/grad_norm"] == pytest.approx(0.6)


def test_a_gradient_scaler_may_skip_a_step_but_no_loss_may_be_nan():
    curves, trainer = Curves(spike_warmup=2, spike_window=4), SimpleNamespace(world_size=1)
    curves._losses, curves._grad_norms = (
        [torch.tensor(1.0)] * 4,
        [torch.tensor(v) for v in (1.0, 2.0, 1.5, math.inf)],
    )
    curves._scales, curves._step, curves._scaler = [1.0] * 4, 4, True
    curves.flush(trainer)
    assert curves.metrics["train/grad_norm_spikes"] == 1 and "train/grad_norm" not in curves.metrics
    curves._losses, curves._grad_norms, curves._scales = [torch.tensor(math.nan)], [torch.tensor(1.0)], [1.0]
    curves._step = 5
    with pytest.raises(FloatingPointError, match="loss is nan at step 5"):
        curves.flush(trainer)


def test_without_steps_there_are_no_metrics():
    assert Curves().metrics == {}


@pytest.mark.parametrize("knobs", [{"every": 0}, {"ema": 1.0}, {"ema": -0.1}])
def test_knobs_are_checked(knobs):
    with pytest.raises(ValueError, match=f"curves.{next(iter(knobs))} must be .*, got"):
        Curves(**knobs)
