import pytest

from hcexp.report import build, html
from hcexp.report.figure_data import figure_data

METRICS = {"v3/pile/loss": 3.0, "v3/mean/loss": 3.0, "downstream/copa/accuracy": 0.9}
CURVES = {
    "train/loss_ema999": [(step, 9.0 - step / 10) for step in range(12)],
    "v3/pile/loss": [(5, 4.0), (10, 3.0)],
    "v3/mean/loss": [(5, 4.0), (10, 3.0)],
    "downstream/copa/accuracy": [(5, 0.25), (10, 0.5)],
}


@pytest.fixture
def report(evaluated):
    return build(*evaluated(METRICS, "evaluation.documents=200", curves=CURVES), "tiny")


def test_metrics_are_grouped_and_say_what_they_are(report):
    metrics = figure_data(report)["metrics"]
    look = "(first 200 documents a set)"
    assert [(metric["group"], metric["name"]) for metric in metrics] == [
        ("Training", "training loss"),
        (f"V3 loss {look}", "V3 mean"),
        (f"V3 loss {look}", "V3 pile"),
        ("Downstream accuracy (first 200 documents a task)", "downstream copa"),
    ]
    assert [metric["caption"] for metric in metrics] == [
        "Training loss, exponential moving average (0.999)",
        f"Mean loss of the V3 suite {look}",
        f"Loss of pile, V3 suite {look}",
        "Accuracy of the task copa (first 200 documents a task)",
    ]


def test_accuracies_are_percent_and_only_a_long_loss_leaves_out_its_beginning(report):
    training, _, pile, copa = figure_data(report)["metrics"]
    assert (training["skip"], pile["skip"], copa["skip"]) == (0.2, 0.0, 0.0)
    assert (pile["unit"], copa["unit"]) == ("loss", "accuracy %")
    assert copa["rows"][0]["mean"] == [[320, 25.0], [640, 50.0]]
    assert pile["rows"][1]["difference"] == [[320, 0.0], [640, 0.0]]


def test_a_row_without_a_curve_of_a_metric_has_an_empty_entry(evaluated):
    sweep, outcomes = evaluated(METRICS, curves=CURVES)
    for outcome in outcomes[-2:]:
        object.__setattr__(outcome, "curve", {"train/loss_ema999": CURVES["train/loss_ema999"]})
    data = figure_data(build(sweep, outcomes, "tiny"))
    assert [row["label"] for row in data["rows"]] == ["OLMo-1B", "DHC×2 W/O tanh", "mHC×4"]
    assert all(len(metric["rows"]) == 3 for metric in data["metrics"])
    assert data["metrics"][1]["rows"][2] == {"mean": [], "difference": [], "seeds": []}


@pytest.mark.parametrize(
    ("name", "decay"), [("loss_ema99", "0.99"), ("loss_ema0", "0.0"), ("loss_ema5", "0.5"), ("loss_ema1e-05", "1e-05")]
)
def test_the_average_has_the_decay_of_its_name(evaluated, name, decay):
    report = build(*evaluated(METRICS, curves={f"train/{name}": [(1, 2.0)]}), "tiny")
    assert figure_data(report)["metrics"][0]["caption"].endswith(f"moving average ({decay})")
    assert f"moving average ({decay})</span>, against" in html(report)


def test_a_metric_can_be_chosen_where_there_are_several(report, evaluated):
    page = html(report)
    assert page.count("<optgroup") == page.count("</optgroup>") == 3 and page.count("<option ") == 4
    alone = html(build(*evaluated(METRICS, curves={"train/loss_ema99": [(1, 2.0)]}), "tiny"))
    assert '<select aria-label="Metric" hidden>' in alone and '<select aria-label="Metric">' in page
