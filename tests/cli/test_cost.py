import csv
import io
from dataclasses import replace

import psutil
import pytest
import yaml
from rich.console import Console

from hcexp.cli.cost_tables import Line, show_measured, write_csv
from hcexp.configuration import compose, shipped
from hcexp.report.measured import Measured
from hcexp.report.predicted import predicted
from hcexp.residual import PostNorm

# A network that is quick to build, count and train.
SMALL = (
    "model.d=32",
    "model.layers=2",
    "model.heads=2",
    "model.inner=32",
    "model.vocabulary_size=100",
    "data.sequence_length=16",
    "data.batch_size=2",
    "trainer.accelerator=cpu",
)


def table(out, title):
    """{label: cells} of the table below a title."""
    below = out[out.index(title) :].splitlines()[1:]
    start = next(index for index, line in enumerate(below) if set(line.strip()) == {"─"})
    rows = {}
    for line in below[start + 1 :]:
        cells = [cell for cell in line.split("  ") if cell.strip()]
        if len(cells) < 2:
            break
        rows[cells[0].strip()] = [cell.strip() for cell in cells[1:]]
    return rows


def read(path):
    with open(path, encoding="utf-8", newline="") as lines:
        return {line["row"]: line for line in csv.DictReader(lines)}


def test_the_papers_count_of_dhc(hcexp):
    status, out, err = hcexp("cost", "model=1b", "residual=dhc", "residual.n=4")
    assert (status, err) == (0, "")
    rows = table(out, "parameters, model=1b")
    assert rows["pre_norm"] == ["1,176,764,416", "0", "0", "–", "–"]
    assert rows["dhc n=4"] == ["1,177,158,464", "394,048", "0", "+394,048", "+0.03349"]


def test_the_papers_operations_stand_beside_ours(hcexp):
    _, out, _ = hcexp("cost", "model=1b", "residual=shc,dhc", "residual.n=2,4,8")
    rows = table(out, "GFLOPs a token")
    # forward, of the mode, more %, training; paper: forward, of the mode, more %.
    assert rows["pre_norm"] == ["2.3535", "0.0000", "–", "7.0606", "2.3536", "–", "–"]
    assert rows["shc n=4"] == ["2.3567", "0.0031", "+0.134", "7.0700", "2.3566", "0.0031", "0.127"]
    assert rows["dhc n=2"] == ["2.3556", "0.0021", "+0.089", "7.0669", "2.3554", "0.0020", "0.076"]
    assert rows["dhc n=8"][4:] == ["–", "–", "–"]  # in Table 1, but not in Table 8
    assert "is 3.0000 times the forward pass" in " ".join(out.split())


def test_the_papers_7b_has_a_row_of_its_own(hcexp):
    _, out, _ = hcexp("cost", "model=7b", "residual=dhc", "residual.n=2,4")
    rows = table(out, "GFLOPs a token")
    assert rows["pre_norm"][4] == "13.3647"
    assert rows["dhc n=4"][4:] == ["13.3844", "0.0197", "0.147"] and rows["dhc n=2"][4] == "–"


@pytest.mark.parametrize("override", ["model.d=1024", "residual.tanh=false", "residual.norm_affine=true"])
def test_the_papers_numbers_stand_beside_the_papers_model_alone(hcexp, override):
    _, out, _ = hcexp("cost", "model=1b", "residual=dhc", "residual.n=4", override)
    paper_of_the_mode = [line for line in out.splitlines() if line.startswith("dhc") and "2.3583" in line]
    assert paper_of_the_mode == []
    assert ("2.3536" in out) == override.startswith("residual")


def test_a_model_that_the_paper_lacks_has_no_columns_of_it(hcexp):
    _, out, _ = hcexp("cost", "residual=dhc")
    assert "paper" not in out and "MFLOPs a token" in out


def test_activations_are_those_of_the_run(hcexp):
    sizes = ["model=1b", "data.sequence_length=2048", "data.batch_size=64", "trainer.accumulate_grad_batches=8"]
    _, out, _ = hcexp("cost", *sizes, "residual=post_norm,shc", "residual.n=4")
    rows = table(out, "activations by formula")
    assert rows == {"pre_norm": ["61.203", "–"], "post_norm": ["–", "–"], "shc n=4": ["65.498", "+7.02"]}
    assert "For 8 sequences of 2048 tokens" in " ".join(out.split())


def test_the_formula_says_nothing_of_modes_it_does_not_know(hcexp, tmp_path):
    path = tmp_path / "cost.csv"
    _, out, _ = hcexp("cost", *SMALL, "residual=resi_dual,parallel,two_hop,shc", "--csv", path)
    rows = table(out, "activations by formula")
    for mode in ("resi_dual", "parallel", "two_hop"):
        assert rows[mode] == ["–", "–"] and read(path)[mode]["activation bytes by formula"] == ""
    assert rows["pre_norm"][0] != "–" and rows["shc n=4"][1].startswith("+")
    assert "covers hyper-connections alone" in " ".join(out.split())


def test_a_mode_that_cannot_be_counted_is_told_in_a_line(refused, monkeypatch):
    monkeypatch.setattr(PostNorm, "expand", lambda self, h: h * h.sum().item())
    line = refused("cost", *SMALL, "residual=post_norm")
    assert line.startswith("residual=post_norm cannot be counted: DataDependentOutputException: ")


def test_a_table_that_cannot_be_written_is_refused_before_anything_is_counted(refused, hcexp, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert refused("cost", *SMALL, "--csv", tmp_path) == f"--csv {tmp_path} is a folder: name a file"
    below = tmp_path / "file" / "new" / "cost.csv"
    assert refused("cost", *SMALL, "--csv", below).startswith(f"--csv {below} cannot be written: ")
    assert hcexp("cost", *SMALL, "--csv", tmp_path)[1] == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_half_a_table_does_not_stay(tmp_path):
    config = compose([*SMALL, "residual=shc"])
    (tmp_path / "cost.csv").mkdir()
    with pytest.raises(OSError):
        write_csv([Line("shc", config, predicted(config), True)], tmp_path / "cost.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["cost.csv"]


def test_a_narrow_terminal_cuts_no_number():
    config = compose([*SMALL, "residual=shc"])
    step = Measured(
        parameters=1, seconds=1.2345, step=1.234, step_low=1.213, step_high=1.256, tokens_per_second=1234567.0,
        peak_bytes=123.45e9, peak=1.357, peak_by="x", device="y", compiled="eager", rounds=3, command="z",
    )  # fmt: skip
    label = "dhc n=4 tanh=false norm_affine=true train_wc=false"
    lines = [Line(label, config, predicted(config), first, step) for first in (True, False)]
    console = Console(file=io.StringIO(), width=80)
    show_measured(lines, console)
    (line,) = [line for line in console.file.getvalue().splitlines() if "1.357" in line]
    assert line.split("  ")[0] == label and line.split()[-6:] == [
        "1,234.5", "1.234", "1.213–1.256", "1,234,567", "123.45", "1.357",
    ]  # fmt: skip


def test_the_papers_plain_model_is_no_other_baseline():
    config = compose(["model=1b", "residual=post_norm"])
    counted = predicted(config)
    assert Line("mine", config, counted, True).paper == {}
    plain = compose(["model=1b", "residual=pre_norm"])
    assert Line("mine", plain, predicted(plain), False).paper["total_gflops"] == 2.3536


def test_every_mode_without_asking(hcexp):
    status, out, _ = hcexp("cost")
    modes = {path.stem for path in (shipped("conf") / "residual").glob("*.yaml")}
    assert status == 0 and {label.split()[0] for label in table(out, "parameters, model=tiny")} == modes


def test_what_is_frozen_is_shown(hcexp):
    _, out, _ = hcexp("cost", "model=7b", "residual=shc", "residual.n=2", "residual.train_b=false")
    (cells,) = [cells for label, cells in table(out, "parameters, model=7b").items() if label.startswith("shc")]
    assert cells[1:4] == [f"{64 * 8:,}", f"{64 * 2:,}", f"+{64 * 8:,}"]


def test_pre_norm_alone_is_compared_with_nothing(hcexp):
    status, out, _ = hcexp("cost", "model=20m", "residual=pre_norm")
    assert status == 0
    for title in ("parameters, model=20m", "MFLOPs a token", "activations by formula"):
        rows = table(out, title)
        assert list(rows) == ["pre_norm"] and "–" in rows["pre_norm"] and not any("+" in c for c in rows["pre_norm"])


def test_the_table_as_csv_is_unrounded(hcexp, tmp_path):
    path = tmp_path / "new" / "cost.csv"
    status, out, _ = hcexp("cost", "model=1b", "residual=post_norm,dhc", "--csv", path)
    assert status == 0 and f"table: {path}" in out and [p.name for p in path.parent.iterdir()] == ["cost.csv"]
    rows = read(path)
    assert list(rows) == ["pre_norm", "post_norm", "dhc n=4"]
    assert int(rows["dhc n=4"]["parameters"]) == 1_177_158_464
    assert float(rows["dhc n=4"]["FLOPs per token of the residual mode"]) == 2 * 32 * 2 * 2048 * 4 * 6
    assert float(rows["dhc n=4"]["training FLOPs per token"]) == 3 * float(rows["dhc n=4"]["forward FLOPs per token"])
    assert rows["dhc n=4"]["paper forward GFLOPs per token"] == "2.3583"
    assert rows["post_norm"]["paper forward GFLOPs per token"] == ""
    assert "tokens per second" not in rows["pre_norm"]


def test_training_steps_are_measured(hcexp, tmp_path):
    path = tmp_path / "cost.csv"
    command = [*SMALL, "residual=altup,dhc", "residual.n=2", "measure=true", "--rounds", "3", "--csv", path]
    status, out, err = hcexp("cost", *command)
    assert (status, err) == (0, "")
    shown = table(out, "training step, eager, on")
    rows = read(path)
    assert list(shown) == list(rows) == ["pre_norm", "altup n=2", "dhc n=2"]
    for label, line in rows.items():
        ratio = float(line["step time over baseline"])
        assert 0 < float(line["step time over baseline, lower quartile"]) <= ratio
        assert ratio <= float(line["step time over baseline, upper quartile"])
        speed = 2 * 16 / float(line["step seconds"])
        assert float(line["tokens per second"]) == pytest.approx(speed)
        assert (line["rounds"], line["compiled"]) == ("3", "eager") and "CPU thread" in line["device"]
        assert line["command"].startswith("hcexp cost model.d=32 ")
        if label != "pre_norm":
            assert shown[label][1] == f"{ratio:.3f}"
    assert (
        float(rows["pre_norm"]["step time over baseline"]) == 1 == float(rows["pre_norm"]["peak memory over baseline"])
    )
    assert float(rows["dhc n=2"]["peak memory over baseline"]) > 1
    assert "by torch.profiler" in " ".join(out.split())


@pytest.mark.slow
def test_compiled_steps_are_measured(hcexp, compiler):
    status, out, _ = hcexp("cost", *SMALL, "residual=dhc", "measure=true", "compile=true", "--rounds", "2")
    assert status == 0 and list(table(out, "training step, compiled, on")) == ["pre_norm", "dhc n=4"]


@pytest.fixture
def own_sweep(tmp_path):
    rows = [
        {"label": "Mine", "overrides": ["residual=dhc", "residual.n=2"]},
        {"label": "Plain", "overrides": ["residual=pre_norm"]},
    ]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"title": "A question", "baseline": "Plain", "rows": rows}))
    return path


def test_the_rows_of_a_sweep(hcexp, own_sweep, tmp_path):
    status, out, _ = hcexp("cost", "--sweep", own_sweep, "model=20m", f"paths.runs={tmp_path}/runs")
    rows = table(out, "parameters, model=20m")
    assert status == 0 and list(rows) == ["Plain", "Mine"] and "more than" in out
    assert not (tmp_path / "runs").exists()  # what is counted anew each time need not be kept


def test_what_was_measured_of_a_sweep_lies_beside_its_report(hcexp, own_sweep, tmp_path):
    secret = "tracking.uri=http://me:secret@127.0.0.1:9"
    options = [*SMALL, f"paths.runs={tmp_path}/runs", "measure=true", "--rounds", "1", secret]
    status, out, _ = hcexp("cost", "--sweep", own_sweep, *options)
    path = tmp_path / "runs" / "reports" / "own-tiny" / "cost.csv"
    assert status == 0 and f"table: {path}" in out
    assert list(read(path)) == ["Plain", "Mine"] and "secret" not in path.read_text()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["measure=maybe"], "measure=maybe is not allowed: it must be true or false"),
        (["residual=post_norm", "residual.n=4"], "residual.n is not a knob of post_norm"),
        (["residual=dhcc,shc"], "residual=dhcc is not known, did you mean dhc"),
        (["residual=dhc", "residual.n=0,2"], "residual.n=0 is the expansion rate"),
        (["model=1b,7b"], "model=1b,7b: only residual and its knobs can be lists here"),
        (["--sweep", "tabel2"], "no sweep 'tabel2'. Did you mean table2?"),
        (["--sweep", "table2", "residual=dhc"], "residual=dhc: --sweep says which residual modes"),
        (["residual=dhc", "data.batch_size=3", "trainer.devices=2"], "data.batch_size=3 cannot be cut into 2 micro-"),
        (["--rounds", "0"], "argument --rounds: 0 must be a whole number, 1 or more"),
        (["dhc"], "dhc is no override: write knob=value"),
    ],
)
def test_a_bad_word_is_refused_in_a_line(refused, arguments, line):
    assert refused("cost", *arguments).startswith(line)


def test_a_step_that_does_not_fit_is_refused_before_it_is_made(refused, monkeypatch):
    """The states of this small model are a megabyte, and the activations of its step some fifty."""
    free = type("memory", (), {"available": 20 * 10**6})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    options = [*SMALL, "residual=shc", "measure=true", "--rounds", "1"]
    line = refused("cost", *options, "data.batch_size=512")
    assert line.startswith("measure=true needs 0.") and "GB for a step's activations beside 0.0 GB of states" in line
    assert line.endswith("lower data.batch_size, or raise trainer.accumulate_grad_batches")


def test_the_utilisation_of_a_gpu_that_is_known_is_shown():
    config = compose([*SMALL, "residual=shc"])
    step = Measured(
        parameters=1, seconds=1.0, step=1.0, step_low=1.0, step_high=1.0, tokens_per_second=1e6, peak_bytes=1e9,
        peak=1.0, peak_by="x", device="NVIDIA H200", compiled="eager", rounds=3, command="z",
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=120)
    line = Line("shc", config, predicted(config), True, step)
    show_measured([line], console)
    assert line.utilisation == (line.predicted.flops.training + 3 * line.predicted.attention) * 1e6 / 989e12
    assert "utilisation" in console.file.getvalue()
    unknown = Line("shc", config, predicted(config), True, replace(step, device="2 CPU threads"))
    assert unknown.utilisation is None


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(refused, monkeypatch):
    free = type("memory", (), {"available": 10**6})
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    line = refused("cost", "model=1b", "residual=shc", "measure=true", "trainer.accelerator=cpu")
    needed = 16 * (1_176_764_416 + 768) / 1e9  # one backbone for both
    assert line.startswith(
        f"measure=true needs {needed:.1f} GB for weights, gradients and optimizer states, of which 0"
    )
