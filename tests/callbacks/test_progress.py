import re

import pytest

from hcexp.callbacks import Curves, Progress, Throughput
from hcexp.callbacks.progress import clock, short

LINE = re.compile(r"step (\d+)/(\d+)  loss (\d+\.\d{3})  (\d[\d.]*[kMG]?) tokens/s  (\d+:\d\d:\d\d) left")


def lines(captured):
    return [line for line in captured.splitlines() if line.startswith("step")]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_line_says_step_loss_speed_and_time_left(regression, fit, capsys, accumulate):
    callbacks = [Curves(every=4), Throughput(every=4, warmup=2), Progress(seconds=0)]
    module = regression(length=10 * accumulate)  # two epochs: still one count of steps
    fit(module, callbacks, 20, enable_progress_bar=True, accumulate_grad_batches=accumulate)
    found = [LINE.fullmatch(line) for line in lines(capsys.readouterr().out)[1:]]  # no speed is known in the first
    assert all(found)
    assert [(match[1], match[2]) for match in found] == [(str(step), "20") for step in range(2, 21)]
    assert found[-1][3] == f"{callbacks[0].loss:.3f}" and found[-1][5] == "0:00:00"


def test_lines_are_rare_and_the_last_one_is_there(regression, fit, capsys):
    fit(regression(), [Curves(), Throughput(), Progress(seconds=1000)], 30, enable_progress_bar=True)
    (line,) = lines(capsys.readouterr().out)
    assert LINE.fullmatch(line)[1] == "30"


def test_the_loss_is_known_before_the_curves_have_a_point_and_samples_are_no_tokens(regression, fit, capsys):
    module = regression()
    module.tokens_per_step = 0
    fit(module, [Curves(every=100), Progress(seconds=0)], 5, enable_progress_bar=True)
    found = lines(capsys.readouterr().out)[1:]
    assert all(f"  loss {loss:.3f}  " in line for line, loss in zip(found, module.seen[1:4], strict=False))
    assert len(found) == 4 and all(" samples/s " in line for line in found)


def test_in_a_terminal_one_bar_counts_optimiser_steps(regression, fit, capsys):
    progress = Progress(terminal=True)
    callbacks = [Curves(every=4), Throughput(every=4, warmup=2), progress]
    knobs = {"accumulate_grad_batches": 2, "val_check_interval": 10, "limit_val_batches": 2}
    fit(regression(length=20), callbacks, 20, enable_progress_bar=True, **knobs)
    out = capsys.readouterr().out
    assert lines(out.replace("\r", "\n"))[-1].startswith("step 20/20 |")
    assert "Epoch" not in out and "0:00:00 left" in out
    assert progress.train_progress_bar.n == progress.train_progress_bar.total == 20


def test_epochs_in_place_of_steps(regression, fit, capsys):
    callbacks = [Curves(), Progress(seconds=1000)]
    fit(regression(length=6), callbacks, -1, max_epochs=2, enable_progress_bar=True)
    assert lines(capsys.readouterr().out)[-1].startswith("step 12/12 ")


def test_numbers_and_times_are_short_and_what_is_not_known_is_a_dash():
    numbers = {0.4: "0", 987.2: "987", 999.6: "1k", 12345: "12.3k", 123456: "123k", 4.56e6: "4.56M", 2e12: "2000G"}
    assert {number: short(number) for number in numbers} == numbers
    seconds = {31: "0:00:31", 59.7: "0:01:00", 93784: "26:03:04"}
    assert {number: clock(number) for number in seconds} == seconds
    assert short(float("nan")) == clock(float("inf")) == "-"
