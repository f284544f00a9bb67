import re

import pytest

from hcexp.callbacks import Curves, Progress, Throughput

LINE = re.compile(r"step (\d+)/(\d+)  loss (\d+\.\d{3})  (\d[\d.]*[kMG]?) tokens/s  (\d+:\d\d:\d\d) left")


@pytest.fixture
def shown(regression, fit, capsys):
    """Trains with curves and progress, and gives the lines that say so."""

    def train(*callbacks, steps=20, length=200, tokens=1000, **knobs):
        module = regression(length=length)
        module.tokens_per_step = tokens
        fit(module, list(callbacks), steps, enable_progress_bar=True, **knobs)
        out = capsys.readouterr().out
        assert "Epoch" not in out
        return [line for line in out.replace("\r", "\n").splitlines() if line.startswith("step")], module

    return train


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_line_says_step_loss_speed_and_time_left(shown, accumulate):
    callbacks = [Curves(every=4), Throughput(every=4, warmup=2), Progress(seconds=0)]
    found, _ = shown(*callbacks, length=10 * accumulate, accumulate_grad_batches=accumulate)  # two epochs
    matches = [LINE.fullmatch(line) for line in found[1:]]  # no speed is known in the first
    assert [(match[1], match[2]) for match in matches] == [(str(step), "20") for step in range(2, 21)]
    assert matches[-1][3] == f"{callbacks[0].loss:.3f}" and matches[-1][5] == "0:00:00"


def test_lines_are_rare_and_the_last_one_is_there_if_need_be_by_epochs(shown):
    (line,), _ = shown(Curves(), Throughput(), Progress(seconds=1000))
    assert LINE.fullmatch(line)[1] == "20"
    (line,), _ = shown(Curves(), Progress(seconds=1000), steps=-1, length=6, max_epochs=2)
    assert line.startswith("step 12/12 ")


def test_the_loss_is_known_before_the_curves_have_a_point_and_samples_are_no_tokens(shown):
    found, module = shown(Curves(every=100), Progress(seconds=0), steps=5, tokens=0)
    assert all(f"  loss {loss:.3f}  " in line for line, loss in zip(found[1:], module.seen[1:4], strict=False))
    assert len(found) == 5 and all(" samples/s " in line for line in found)


def test_in_a_terminal_one_bar_counts_optimiser_steps(shown):
    progress = Progress(terminal=True)
    knobs = {"accumulate_grad_batches": 2, "val_check_interval": 10, "limit_val_batches": 2}
    found, _ = shown(Curves(every=4), Throughput(every=4, warmup=2), progress, length=20, **knobs)
    assert found[-1].startswith("step 20/20 |") and "0:00:00 left" in found[-1]
    assert progress.train_progress_bar.n == progress.train_progress_bar.total == 20
