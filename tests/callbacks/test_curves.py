import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcexp.callbacks import Curves, SpikeScore, StepCheckpoint, latest


def averages(losses, ema):
    average, out = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = ema * average + (1 - ema) * loss
        out.append(average / (1 - ema**step))
    return out


@pytest.mark.parametrize("accumulate", [1, 3])
def test_curves_are_those_computed_by_hand(regression, memory, fit, accumulate):
    module, curves = regression(), Curves(every=4, ema=0.999, spike_warmup=5, spike_window=20, spike_threshold=1.2)
    fit(module, [curves], 30, memory, accumulate_grad_batches=accumulate)
    losses = np.array(module.seen).reshape(30, accumulate).mean(axis=1)
    inputs = np.array([row.sum().item() for row in module.train_dataloader()])[: 30 * accumulate]
    points = [4, 8, 12, 16, 20, 24, 28, 30]
    for name, series in (("loss", losses), ("aux", inputs.reshape(30, accumulate).mean(axis=1))):
        means = [series[a:b].mean() for a, b in zip([0, *points], points, strict=False)]
        expected = [(p, pytest.approx(m, 1e-5)) for p, m in zip(points, means, strict=True)]
        assert memory.curves[f"train/{name}"] == expected
    # the norm and the rate of this very step: the schedule has moved on by the time a callback sees the batch
    for name, value in (
        ("loss_ema999", dict(enumerate(averages(losses, 0.999), 1))),
        ("grad_norm", dict(enumerate(module.grad_norms, 1))),
        ("lr", {p: 0.01 / p for p in points}),
    ):
        assert dict(memory.curves[f"train/{name}"]) == pytest.approx({p: value[p] for p in points})
    for name, series in (("", losses), ("grad_norm_", module.grad_norms)):
        score = SpikeScore(threshold=1.2, window=20, warmup=5)
        counts = np.cumsum([score.update(value) for value in series])
        assert counts[-1] > 0
        assert dict(memory.curves[f"train/{name}spikes"]) == {p: counts[p - 1] for p in points}
        shares = memory.curves[f"train/{name}spike_score"]  # none is logged before a step was judged
        assert shares[0][0] == 8 and shares[-1] == (30, pytest.approx(counts[-1] / 25))
    assert curves.metrics == {name: curve[-1][1] for name, curve in memory.curves.items()}


def test_a_run_that_is_stopped_early_is_saved_and_has_no_point_that_an_uninterrupted_one_has_not(
    regression, memory, fit, tmp_path
):
    class Stopped(regression):
        def on_train_batch_end(self, *_):
            self.trainer.should_stop = self.trainer.global_step == 10

    curves = Curves(every=4)
    fit(Stopped(), [curves, StepCheckpoint(100, folder=tmp_path)], 30, memory)
    assert latest(tmp_path).name == "step=000010.ckpt"
    assert [step for step, _ in memory.curves["train/loss"]] == [4, 8]
    assert curves.state_dict()["count"] == 2


def test_a_short_last_accumulation_is_a_mean_of_what_there_was(regression, memory, fit):
    # 5 batches an epoch, accumulated by 2: Lightning steps after 2, 2 and 1
    module = regression(length=5)
    fit(module, [Curves(every=1)], 6, memory, accumulate_grad_batches=2)
    expected = [np.mean(module.seen[a:b]) for a, b in ((0, 2), (2, 4), (4, 5), (5, 7), (7, 9), (9, 10))]
    assert [value for _, value in memory.curves["train/loss"]] == pytest.approx(expected)


def test_a_run_resumed_between_two_points_has_the_curves_of_an_uninterrupted_one(regression, memory, fit, tmp_path):
    def curves():
        return Curves(every=4, spike_warmup=5, spike_window=10, spike_threshold=1.5)

    knobs = {"accumulate_grad_batches": 2}
    whole, resumed, again = curves(), curves(), type(memory)()
    fit(regression(), [whole], 30, memory, **knobs)
    fit(regression(), [curves(), StepCheckpoint(5, folder=tmp_path)], 13, again, **knobs)
    again.curves = {name: [p for p in points if p[0] % 4 == 0] for name, points in again.curves.items()}
    knobs["ckpt"] = latest(tmp_path)
    fit(regression(start=26), [resumed, StepCheckpoint(100, folder=tmp_path)], 30, again, **knobs)
    assert again.curves == memory.curves and resumed.metrics == whole.metrics
    assert resumed.state_dict() == whole.state_dict()


def test_nan_ends_the_run_before_a_checkpoint_has_it(regression, fit, tmp_path):
    module = regression(bad=[34])  # the 18th step
    callbacks = [Curves(every=100), StepCheckpoint(5, folder=tmp_path)]
    with pytest.raises(FloatingPointError, match="^loss is nan at step 18 [^\n]*lr[^\n]*$"):
        fit(module, callbacks, 40, accumulate_grad_batches=2)
    assert module.trainer.global_step == 20, "found when the next checkpoint was due, not earlier"
    assert sorted(path.name for path in tmp_path.glob("step=*")) == ["step=000010.ckpt", "step=000015.ckpt"]
    state = torch.load(latest(tmp_path), weights_only=True)
    assert all(weight.isfinite().all() for weight in state["state_dict"].values())


def test_what_is_not_finite_ends_the_run_at_the_next_point_and_no_checkpoint_can_follow(regression, fit, tmp_path):
    class Exploding(regression):
        def configure_gradient_clipping(self, *args, **kwargs):
            super().configure_gradient_clipping(*args, **kwargs)
            if self.trainer.global_step == 6:
                self.grad_norm = torch.tensor(math.inf)

    for module, what in ((regression(bad=[6]), "loss is nan"), (Exploding(), "gradient norm is inf")):
        with pytest.raises(FloatingPointError, match=f"^{what} at step 7 "):
            fit(module, [Curves(every=10)], 40)
        assert module.trainer.global_step == 10
        with pytest.raises(FloatingPointError, match="step 7"):
            module.trainer.save_checkpoint(tmp_path / "late.ckpt")
        assert not (tmp_path / "late.ckpt").exists()


def taken(curves, first, losses, grad_norms, trainer, scaler=False):
    """Brings steps into the curves as training would."""
    curves._reported = [{"loss": torch.tensor(loss)} for loss in losses]
    curves._grad_norms, curves._scales = [torch.tensor(norm) for norm in grad_norms], [1.0] * len(losses)
    curves._step, curves._scaler = first + len(losses) - 1, scaler
    curves.flush(trainer)
    return curves.metrics


def test_two_ranks_share_the_mean_of_what_they_report():
    def reduce(rows, reduce_op):
        assert reduce_op == "mean" and rows.tolist() == [0.5, 0.5, 1.0, 2.0]
        return (rows + torch.tensor([0.5, 0.75, 3.0, 5.0])) / 2  # gradient norms, then losses, of the other rank

    trainer = SimpleNamespace(world_size=2, strategy=SimpleNamespace(reduce=reduce))
    metrics = taken(Curves(ema=0.5), 1, [1.0, 2.0], [0.5, 0.5], trainer)
    assert (metrics["train/loss"], metrics["train/grad_norm"]) == ((2.0 + 3.5) / 2, 0.625)
    assert metrics["train/loss_ema5"] == pytest.approx(averages([2.0, 3.5], 0.5)[-1])


def test_a_gradient_scaler_may_skip_a_step_but_no_loss_may_be_nan():
    curves, trainer = Curves(spike_warmup=2, spike_window=4), SimpleNamespace(world_size=1)
    metrics = taken(curves, 1, [1.0] * 4, [1.0, 2.0, 1.5, math.inf], trainer, scaler=True)
    assert metrics["train/grad_norm_spikes"] == 1 and "train/grad_norm" not in metrics
    with pytest.raises(FloatingPointError, match="loss is nan at step 5"):
        taken(curves, 5, [math.nan], [1.0], trainer, scaler=True)
