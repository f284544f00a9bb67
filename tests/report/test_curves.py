import math

import pytest

from hcexp.report.curves import curves, thin
from hcexp.report.results import Results

TRAINING = "train/loss_ema99"
METRICS = {"v3/pile/loss": 3.0, "v3/mean/loss": 3.0, "downstream/copa/accuracy": 0.9}
CURVES = {
    "train/loss_ema999": [(step, 9.0 - step / 10) for step in range(12)],
    "v3/pile/loss": [(5, 4.0), (10, 3.0)],
    "v3/mean/loss": [(5, 4.0), (10, 3.0)],
    "downstream/copa/accuracy": [(5, 0.25), (10, 0.5)],
}


def drawn(sweep, outcomes):
    return curves(Results(sweep, outcomes))


def test_thinning_keeps_ends_and_spikes():
    curve = [(step, 3.0 + 0.001 * math.sin(step)) for step in range(10_000)]
    curve[4321] = (4321, 9.0)
    curve[7000] = (7000, 1.0)
    thinned = thin(curve)
    assert len(thinned) <= 400
    assert {curve[0], curve[-1], (4321, 9.0), (7000, 1.0)} <= set(thinned)
    assert list(thinned) == sorted(thinned) and set(thinned) <= set(curve)
    for length in (0, 1, 2, 399, 400, 401, 500):
        curve = [(step, float(step)) for step in range(length)]
        assert len(thin(curve)) <= 400 and (thin(curve) == tuple(curve)) == (length <= 400)


def test_means_and_paired_differences(sweep, finished):
    made = [
        finished("OLMo-1B", 0, 1.0, curve=[(0, 8.0), (10, 4.0)]),
        finished("OLMo-1B", 1, 1.0, curve=[(0, 9.0), (10, 5.0)]),
        finished("DHC×4", 0, 1.0, curve=[(0, 8.0), (10, 3.5)]),
        finished("DHC×4", 1, 1.0, curve=[(0, 9.0), (10, 4.75), (20, 1.0)]),
    ]
    found = drawn(sweep(seeds=(0, 1)), made)
    assert found["rows"] == [{"label": "OLMo-1B", "baseline": True}, {"label": "DHC×4", "baseline": False}]
    (metric,) = found["metrics"]
    baseline, row = metric["rows"]
    # 6400 tokens in 100 steps: 64 a step. Step 20 has one seed alone, so no mean.
    assert metric["axis"] == "tokens"
    assert baseline["mean"] == [[0, 8.5], [640, 4.5]] and baseline["difference"] == []
    assert row["mean"] == [[0, 8.5], [640, 4.125]] and row["difference"] == [[0, 0.0], [640, -0.375]]
    assert row["seeds"][1][-1] == [1280, 1.0]


def test_steps_where_tokens_are_unknown(sweep, finished):
    made = finished("OLMo-1B", 0, 1.0, curve=[(0, 8.0), (10, math.nan), (20, 4.0)], tokens=None)
    (metric,) = drawn(sweep(), [made])["metrics"]
    assert metric["axis"] == "steps" and metric["rows"][0]["mean"] == [[0, 8.0], [20, 4.0]]
    assert metric["rows"][0]["seeds"] == [], "one seed is its own mean"
    assert drawn(sweep(), [finished("OLMo-1B", 0, 1.0)]) == {"rows": [], "metrics": []}


def test_metrics_are_grouped_and_say_what_they_are(evaluated):
    found = drawn(*evaluated(METRICS, "evaluation.documents=200", curves=CURVES))["metrics"]
    look = "(first 200 documents a set)"
    assert [(metric["group"], metric["name"], metric["caption"]) for metric in found] == [
        ("Training", "training loss", "Training loss, exponential moving average (0.999)"),
        (f"V3 loss {look}", "V3 mean", f"Mean loss of the V3 suite {look}"),
        (f"V3 loss {look}", "V3 pile", f"Loss of pile, V3 suite {look}"),
        (
            "Downstream accuracy (first 200 documents a task)",
            "downstream copa",
            "Accuracy of the task copa (first 200 documents a task)",
        ),
    ]
    # Accuracies are percent, and only a long loss leaves out its beginning.
    training, _, pile, copa = found
    assert (training["skip"], pile["skip"], copa["skip"]) == (0.2, 0.0, 0.0)
    assert (pile["unit"], copa["unit"]) == ("loss", "accuracy %")
    assert copa["rows"][0]["mean"] == [[320, 25.0], [640, 50.0]]
    assert pile["rows"][1]["difference"] == [[320, 0.0], [640, 0.0]]


def test_what_was_evaluated_once_or_not_at_all_has_no_curve(sweep, finished):
    one, two = [(20, 4.0)], [(10, 5.0), (20, 4.0)]
    made = [
        finished("OLMo-1B", 0, 1.0, curves={"v3/pile/loss": two, "v3/mean/loss": one}),
        finished("DHC×4", 0, 1.0, curves={"v3/pile/loss": one, TRAINING: one}),
    ]
    found = drawn(sweep(), made)
    assert [row["label"] for row in found["rows"]] == ["OLMo-1B", "DHC×4"]
    training, pile = found["metrics"]
    assert (training["name"], pile["name"]) == ("training loss", "V3 pile")
    assert training["rows"][0] == pile["rows"][1] == {"mean": [], "difference": [], "seeds": []}
    assert pile["rows"][0]["mean"] == [[640, 5.0], [1280, 4.0]]


@pytest.mark.parametrize(
    ("name", "decay"), [("loss_ema99", "0.99"), ("loss_ema0", "0.0"), ("loss_ema5", "0.5"), ("loss_ema1e-05", "1e-05")]
)
def test_the_average_has_the_decay_of_its_name(evaluated, name, decay):
    (metric,) = drawn(*evaluated(METRICS, curves={f"train/{name}": [(1, 2.0)]}))["metrics"]
    assert metric["caption"].endswith(f"moving average ({decay})")
