import math

import pytest

from hcexp.report.costs import Costs, RowCost
from hcexp.report.render import write
from hcexp.report.report import build
from tests.report.read import by_label, section

MEAN = "corpus/mean/loss"


@pytest.fixture
def left(sweep, finished, measured, monkeypatch, tmp_path):
    """A function: the report at a scale, written where `hcexp report` does; two seeds that agree, a row as fast."""

    def make(scale, step, end=2.5, timed=True):
        def line(end):
            return [(at, 5.0 + (end - 5.0) * at / 100) for at in range(0, 101, 10)]

        ends = {"base": 3.0, "row": end}
        outcomes = [finished(x, seed, ends[x], curves={MEAN: line(ends[x])}) for x in ends for seed in (0, 1)]
        steps = [("base", 1.0), ("row", step)]
        clock = [measured(step=at, step_low=at - 0.01, step_high=at + 0.01) if timed else None for _, at in steps]
        rows = [RowCost(x, x == "base", None, None, None, at) for (x, _), at in zip(steps, clock, strict=True)]
        monkeypatch.setattr("hcexp.report.report.costs", lambda *_: Costs(tuple(rows)))
        folder = tmp_path / "reports" / f"asked-{scale}"
        report = build(sweep(labels=("base", "row"), seeds=(0, 1), table=None), outcomes, scale, folder=folder)
        write(report, folder)
        return report

    return make


def table(report):
    (found,) = section(report, "Verdict").tables
    return by_label(found)


def test_it_is_the_convergence_ratio_times_the_throughput_and_needs_two_scales(left):
    # 5 - 2.5 s / 100 = 3 at s = 80: a ratio of 1.25. The clock's half interval is relative, of 15 rounds.
    half = 1.25 / 1.1 * 1.96 * 1.2533 * 0.02 / 1.349 / math.sqrt(15) / 1.1
    assert table(left("tiny", 1.1)) == {
        "row": {"row": "row", "tiny": f"1.14 ± {half:.2f}", "verdict": "needs 2 scales"}
    }
    report = left("20m", 1.2)
    assert table(report)["row"]["verdict"] == "adopted" and list(table(report)["row"])[1:3] == ["20m", "tiny"]
    assert table(left("60m", 1.3, end=3.1))["row"]["60m"] == "–", "the loss is never reached"
    assert table(left("tiny", 1.3))["row"]["verdict"] == "not adopted", "above 1 at one scale alone"


def test_without_steps_timed_in_turn_there_is_none(left):
    report = left("tiny", 1.1, timed=False)
    assert not any(each.title.startswith("Verdict") for each in report.sections)
