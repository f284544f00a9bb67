import csv
import io
from contextlib import redirect_stdout
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest
import yaml
from rich.console import Console

from hcexp.cli import main
from hcexp.cli.cost_measured import measured
from hcexp.cli.cost_rows import listed
from hcexp.cli.cost_tables import Line, show_measured, write_csv
from hcexp.configuration import compose
from hcexp.paper import printed
from hcexp.report.measured import Measured
from hcexp.report.predicted import predicted
from hcexp.residual import PostNorm
from tests.registered import MODES

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


@pytest.fixture(scope="module")
def of_1b(tmp_path_factory):
    """Counts the 1B under three modes once: what is printed, and the file's lines."""
    path = tmp_path_factory.mktemp("counted") / "new" / "cost.csv"
    sizes = ["model=1b", "data.sequence_length=2048", "data.batch_size=64", "trainer.accumulate_grad_batches=8"]
    with redirect_stdout(io.StringIO()) as out:
        assert main(["cost", *sizes, "residual=shc,dhc", "residual.n=4", "--csv", str(path)]) == 0
    assert f"table: {path}" in out.getvalue() and [p.name for p in path.parent.iterdir()] == ["cost.csv"]
    return out.getvalue(), read(path)


def test_parameters_and_operations_of_the_1b_stand_beside_the_papers(of_1b):
    out, _ = of_1b
    rows = table(out, "parameters, model=1b")
    assert rows["pre_norm"] == ["1,176,764,416", "0", "0", "–", "–"]
    assert rows["dhc n=4"] == ["1,177,158,464", "394,048", "0", "+394,048", "+0.03349"]
    rows = table(out, "GFLOPs a token")
    # forward, of the mode, more %, training; paper: forward, of the mode, more %.
    assert rows["pre_norm"] == ["2.3535", "0.0000", "–", "7.0606", "2.3536", "–", "–"]
    assert rows["shc n=4"] == ["2.3567", "0.0031", "+0.134", "7.0700", "2.3566", "0.0031", "0.127"]
    assert rows["dhc n=4"][4:] == ["2.3583", "0.0049", "0.200"]
    assert "is 3.0000 times the forward pass" in " ".join(out.split())


def test_activations_are_those_of_the_run(of_1b):
    out, _ = of_1b
    rows = table(out, "activations by formula")
    assert (rows["pre_norm"], rows["shc n=4"]) == (["61.203", "–"], ["65.498", "+7.02"])
    assert "For 8 sequences of 2048 tokens" in " ".join(out.split())


def test_the_table_as_csv_is_unrounded(of_1b):
    _, rows = of_1b
    assert list(rows) == ["pre_norm", "shc n=4", "dhc n=4"]
    dhc = rows["dhc n=4"]
    assert int(dhc["parameters"]) == 1_177_158_464
    assert float(dhc["FLOPs per token of the residual mode"]) == 2 * 32 * 2 * 2048 * 4 * 6
    assert float(dhc["training FLOPs per token"]) == 3 * float(dhc["forward FLOPs per token"])
    assert dhc["paper forward GFLOPs per token"] == "2.3583"
    assert "tokens per second" not in dhc


def paper_of(total, *overrides, plain=False):
    counted = SimpleNamespace(plain=plain, parameters=SimpleNamespace(total=total))
    return Line("mine", compose(list(overrides)), counted, False).paper.get("total_gflops")


def test_the_papers_numbers_stand_beside_the_papers_models_alone():
    of = {(model, label): printed(7, label).row["total_exact"] for model, label in (
        ("1b", "OLMo-1B"), ("1b", "DHC×4"), ("7b", "OLMo-7B"), ("7b", "OLMo-7B-DHC×4"))}  # fmt: skip
    for (model, label), total in of.items():
        plain = "DHC" not in label
        mode = ["residual=pre_norm"] if plain else ["residual=dhc", "residual.n=4"]
        assert paper_of(total, f"model={model}", *mode, plain=plain) == printed(8, label).row["total_gflops"]
        assert paper_of(total + 1, f"model={model}", *mode, plain=plain) is None  # another size
    dhc = of["1b", "DHC×4"]
    for knob in ("residual.tanh=false", "residual.norm_affine=true"):
        assert paper_of(dhc, "model=1b", "residual=dhc", "residual.n=4", knob) is None
    assert paper_of(dhc, "model=1b", "residual=dhc", "residual.n=8") is None  # in Table 1, but not in Table 8
    assert paper_of(of["7b", "OLMo-7B-DHC×4"], "model=7b", "residual=dhc", "residual.n=2") is None
    assert paper_of(of["1b", "OLMo-1B"], "model=1b", "residual=post_norm") is None  # no other baseline


@pytest.mark.slow
def test_the_papers_7b_has_a_row_of_its_own(hcexp):
    _, out, _ = hcexp("cost", "model=7b", "residual=dhc", "residual.n=4")
    rows = table(out, "GFLOPs a token")
    assert rows["pre_norm"][4] == "13.3647" and rows["dhc n=4"][4:] == ["13.3844", "0.0197", "0.147"]


def test_without_a_mode_all_are_shown_and_the_formula_is_silent_on_those_that_it_does_not_know(hcexp, tmp_path):
    path = tmp_path / "cost.csv"
    status, out, _ = hcexp("cost", *SMALL, "--csv", path)
    assert status == 0 and {label.split()[0] for label in table(out, "parameters, model=tiny")} == set(MODES)
    rows = table(out, "activations by formula")
    for mode in ("resi_dual", "parallel", "two_hop"):
        assert rows[mode] == ["–", "–"]
        assert {read(path)[mode][of] for of in ("activation bytes by formula", "paper forward GFLOPs per token")} == {
            ""
        }
    (shc,) = [cells for label, cells in rows.items() if label.split()[0] == "shc"]
    assert rows["pre_norm"][0] != "–" and shc[1].startswith("+")
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


STEP = Measured(
    parameters=1, seconds=1.2345, step=1.234, step_low=1.213, step_high=1.256, tokens_per_second=1234567.0,
    peak_bytes=123.45e9, peak=1.357, peak_by="x", device="y", compiled="eager", rounds=3, command="z",
)  # fmt: skip


def test_a_narrow_terminal_cuts_no_number():
    config = compose([*SMALL, "residual=shc"])
    label = "dhc n=4 tanh=false norm_affine=true train_wc=false"
    lines = [Line(label, config, predicted(config), first, STEP) for first in (True, False)]
    console = Console(file=io.StringIO(), width=80)
    show_measured(lines, console)
    (line,) = [line for line in console.file.getvalue().splitlines() if "1.357" in line]
    assert line.split("  ")[0] == label and line.split()[-6:] == [
        "1,234.5", "1.234", "1.213–1.256", "1,234,567", "123.45", "1.357",
    ]  # fmt: skip


def test_what_is_frozen_is_shown(hcexp):
    _, out, _ = hcexp("cost", *SMALL, "residual=shc", "residual.n=2", "residual.train_b=false")
    (cells,) = [cells for label, cells in table(out, "parameters, model=tiny").items() if label.startswith("shc")]
    assert cells[1:4] == [f"{4 * 8:,}", f"{4 * 2:,}", f"+{4 * 8:,}"]


def test_pre_norm_alone_is_compared_with_nothing_and_another_model_not_with_the_paper(hcexp):
    status, out, _ = hcexp("cost", "residual=pre_norm")
    assert status == 0 and "paper" not in out
    for title in ("parameters, model=tiny", "MFLOPs a token", "activations by formula"):
        rows = table(out, title)
        assert list(rows) == ["pre_norm"] and "–" in rows["pre_norm"] and not any("+" in c for c in rows["pre_norm"])


@pytest.mark.slow
def test_compiled_steps_are_measured(hcexp, compile_with):
    compile_with("aot_eager")
    status, out, _ = hcexp("cost", *SMALL, "residual=two_hop", "measure=true", "compile=true", "--rounds", "2")
    assert status == 0 and list(table(out, "training step, compiled, on")) == ["pre_norm", "two_hop"]


@pytest.fixture
def own_sweep(tmp_path):
    rows = [
        {"label": "Mine", "overrides": ["residual=dhc", "residual.n=2"]},
        {"label": "Plain", "overrides": ["residual=pre_norm"]},
    ]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({"title": "A question", "baseline": "Plain", "rows": rows}))
    return path


def test_the_rows_of_a_sweep_are_counted_and_measured(hcexp, own_sweep, tmp_path):
    secret = "tracking.uri=http://me:secret@127.0.0.1:9"
    options = ["--sweep", own_sweep, *SMALL, f"paths.runs={tmp_path}/runs", secret]
    status, out, _ = hcexp("cost", *options)
    assert status == 0 and list(table(out, "parameters, model=tiny")) == ["Plain", "Mine"] and "more than" in out
    assert not (tmp_path / "runs").exists()  # what is counted anew each time need not be kept

    status, out, err = hcexp("cost", *options, "measure=true", "--rounds", "3", "--csv", tmp_path / "cost.csv")
    path = tmp_path / "runs" / "reports" / "own-tiny" / "cost.csv"
    assert (status, err) == (0, "") and f"table: {path}" in out
    assert path.read_text() == (tmp_path / "cost.csv").read_text() and "secret" not in path.read_text()
    shown, rows = table(out, "training step, eager, on"), read(path)
    assert list(shown) == list(rows) == ["Plain", "Mine"]
    for line in rows.values():
        ratio = float(line["step time over baseline"])
        assert 0 < float(line["step time over baseline, lower quartile"]) <= ratio
        assert ratio <= float(line["step time over baseline, upper quartile"])
        assert float(line["tokens per second"]) == pytest.approx(2 * 16 / float(line["step seconds"]))
        assert (line["rounds"], line["compiled"]) == ("3", "eager") and "CPU thread" in line["device"]
        assert line["command"].startswith("hcexp cost --sweep ")
    plain, mine = rows.values()
    assert shown["Mine"][1] == f"{float(mine['step time over baseline']):.3f}"
    assert float(plain["step time over baseline"]) == 1 == float(plain["peak memory over baseline"])
    assert float(mine["peak memory over baseline"]) > 1
    assert "by torch.profiler" in " ".join(out.split())


BAD = {
    "measure=maybe": "measure=maybe is not allowed: it must be true or false",
    "residual=post_norm residual.n=4": "residual.n is not a knob of post_norm",
    "residual=dhcc,shc": "residual=dhcc is not known, did you mean dhc",
    "residual=dhc residual.n=0,2": "residual.n=0 is the expansion rate",
    "model=1b,7b": "model=1b,7b: only residual and its knobs can be lists here",
    "--sweep tabel2": "no sweep 'tabel2'. Did you mean table2?",
    "--sweep table2 residual=dhc": "residual=dhc: --sweep says which residual modes",
    "residual=dhc data.batch_size=3 trainer.devices=2": "data.batch_size=3 cannot be cut into 2 micro-",
    "--rounds 0": "argument --rounds: 0 must be a whole number, 1 or more",
    "dhc": "dhc is no override: write knob=value",
}


def test_a_bad_word_is_refused_in_a_line(refused):
    for arguments, line in BAD.items():
        assert refused("cost", *arguments.split()).startswith(line), arguments


def test_a_step_that_does_not_fit_is_refused_before_it_is_made(refused, monkeypatch):
    """The states of this small model are a megabyte, and the activations of its step some fifty."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * 10**6))
    options = [*SMALL, "residual=shc", "measure=true", "--rounds", "1"]
    line = refused("cost", *options, "data.batch_size=512")
    assert line.startswith("measure=true needs 0.") and "GB for a step's activations beside 0.0 GB of states" in line
    assert line.endswith("lower data.batch_size, or raise trainer.accumulate_grad_batches")


def test_the_utilisation_of_a_gpu_that_is_known_is_shown():
    config = compose([*SMALL, "residual=shc"])
    step = replace(STEP, device="NVIDIA H200", tokens_per_second=1e6)
    line = Line("shc", config, predicted(config), True, step)
    console = Console(file=io.StringIO(), width=120)
    show_measured([line], console)
    assert line.utilisation == (line.predicted.flops.training + 3 * line.predicted.attention) * 1e6 / 989e12
    assert "utilisation" in console.file.getvalue()
    assert replace(line, measured=replace(step, device="2 CPU threads")).utilisation is None


def test_a_model_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**6))
    rows = listed(["model=1b", "residual=shc", "trainer.accelerator=cpu"])
    needed = 16 * (1_176_764_416 + 768) / 1e9  # one backbone for both
    line = f"^measure=true needs {needed:.1f} GB for weights, gradients and optimizer states, of which 0"
    with pytest.raises(ValueError, match=line):
        measured(rows, 1, "hcexp cost")
