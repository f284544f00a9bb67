import csv
import io
from contextlib import redirect_stdout
from types import SimpleNamespace

import psutil
import pytest
import yaml

from hcexp.cli import main
from hcexp.residual import PostNorm
from tests.cost.shared import SMALL, printed
from tests.registered import MODES


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


def test_the_1b_stands_beside_the_papers_numbers(of_1b):
    out, _ = of_1b
    rows = printed(out, "parameters, model=1b")
    assert rows["pre_norm"] == ["1,176,764,416", "0", "0", "–", "–"]
    assert rows["dhc n=4"] == ["1,177,158,464", "394,048", "0", "+394,048", "+0.03349"]
    rows = printed(out, "GFLOPs a token")
    # forward, of the mode, more %, training; paper: forward, of the mode, more %.
    assert rows["pre_norm"] == ["2.3535", "0.0000", "–", "7.0606", "2.3536", "–", "–"]
    assert rows["shc n=4"] == ["2.3567", "0.0031", "+0.134", "7.0700", "2.3566", "0.0031", "0.127"]
    assert rows["dhc n=4"][4:] == ["2.3583", "0.0049", "0.200"]
    rows = printed(out, "activations by formula")
    assert (rows["pre_norm"], rows["shc n=4"]) == (["61.203", "–"], ["65.498", "+7.02"])
    assert "is 3.0000 times the forward pass" in out and "for 8 sequences of 2048 tokens" in out


def test_the_table_as_csv_is_unrounded(of_1b):
    _, rows = of_1b
    assert list(rows) == ["pre_norm", "shc n=4", "dhc n=4"]
    dhc = rows["dhc n=4"]
    assert int(dhc["parameters"]) == 1_177_158_464
    assert float(dhc["FLOPs per token of the residual mode"]) == 2 * 32 * 2 * 2048 * 4 * 6
    assert float(dhc["training FLOPs per token"]) == 3 * float(dhc["forward FLOPs per token"])
    assert dhc["paper forward GFLOPs per token"] == "2.3583"
    assert "tokens per second" not in dhc


@pytest.mark.slow
def test_the_papers_7b_has_a_row_of_its_own(hcexp):
    _, out, _ = hcexp("cost", "model=7b", "residual=dhc", "residual.n=4")
    rows = printed(out, "GFLOPs a token")
    assert rows["pre_norm"][4] == "13.3647" and rows["dhc n=4"][4:] == ["13.3844", "0.0197", "0.147"]


def test_without_a_mode_all_are_shown_and_the_formula_is_silent_on_those_that_it_does_not_know(hcexp, tmp_path):
    path = tmp_path / "cost.csv"
    status, out, _ = hcexp("cost", *SMALL, "--csv", path)
    assert status == 0 and {label.split()[0] for label in printed(out, "parameters, model=tiny")} == set(MODES)
    rows, file = printed(out, "activations by formula"), read(path)
    for mode in ("resi_dual", "parallel", "two_hop"):
        assert rows[mode] == ["–", "–"]
        assert file[mode]["activation bytes by formula"] == file[mode]["paper forward GFLOPs per token"] == ""
    (shc,) = [found for label, found in rows.items() if label.split()[0] == "shc"]
    assert rows["pre_norm"][0] != "–" and shc[1].startswith("+") and "Table 8" not in out


def test_compiled_and_eager_steps_are_timed_in_turn_each_over_its_own_baseline(hcexp, monkeypatch, tmp_path):
    """Whether they are compiled is up to torch; here nothing is."""
    monkeypatch.setattr("hcexp.model.transformer.Transformer.compile_blocks", lambda self: None)
    monkeypatch.setattr("hcexp.cost.benchmark.require_compiler", lambda: None)
    options = ["residual=two_hop", "--measure", "compile=true,false", "--rounds", "2", "--threads", "1"]
    status, out, _ = hcexp("cost", *SMALL, *options, "--csv", tmp_path / "cost.csv")
    compiled, eager = (printed(out, f"training step, {way}, on 1 CPU thread") for way in ("compiled", "eager"))
    assert status == 0 and list(compiled) == list(eager) == ["pre_norm", "two_hop"]
    assert compiled["pre_norm"][1] == eager["pre_norm"][1] == "–"
    assert len(eager["pre_norm"]) == len(compiled["pre_norm"]) + 1 and eager["pre_norm"][-1] != "–"
    assert (tmp_path / "cost.csv").read_text().count(",eager,2,") == 2


@pytest.mark.slow
def test_compiled_steps_are_measured(hcexp, compile_with):
    compile_with("aot_eager")
    status, out, _ = hcexp("cost", *SMALL, "residual=two_hop", "--measure", "compile=true", "--rounds", "2")
    assert status == 0 and list(printed(out, "training step, compiled, on")) == ["pre_norm", "two_hop"]


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
    assert status == 0 and list(printed(out, "parameters, model=tiny")) == ["Plain", "Mine"] and "Plain" in out
    assert not (tmp_path / "runs").exists()  # what is counted anew each time need not be kept

    status, out, err = hcexp("cost", *options, "--measure", "--rounds", "3", "--csv", tmp_path / "cost.csv")
    path = tmp_path / "runs" / "reports" / "own-tiny" / "cost.csv"
    assert (status, err) == (0, "") and f"table: {path}" in out
    assert path.read_text() == (tmp_path / "cost.csv").read_text() and "secret" not in path.read_text()
    shown, rows = printed(out, "training step, eager, on"), read(path)
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
    assert float(mine["peak memory over baseline"]) > 1 and "by torch.profiler" in out


def test_tuned_rows_are_measured_beside_the_report_of_tuned_rows(hcexp, own_sweep, tmp_path):
    rows = [
        {"label": mode, "overrides": [f"residual={mode}"], "values": {"residual.norm_affine": True}, "loss": 1.0}
        | {"finished": 1, "pruned": 0, "failed": 0}
        for mode in ("pre_norm", "dhc")
    ]
    rows[0]["values"] = {"optimizer.lr": 0.1}
    found = {"sweep": "tune", "scale": "tiny", "seed": 0, "command": "hcexp sweep tune", "trials": 1, "rows": rows}
    (tmp_path / "tuned.yaml").write_text(yaml.safe_dump(found))
    options = ["--sweep", own_sweep, *SMALL, f"paths.runs={tmp_path}/runs", "--measure", "--rounds", "1"]
    status, out, err = hcexp("cost", *options, "--tuned", tmp_path / "tuned.yaml")
    path = tmp_path / "runs" / "reports" / "own-tiny-tuned" / "cost.csv"
    assert (status, err) == (0, "") and f"table: {path}" in out
    assert int(read(path)["Mine"]["parameters"]) - int(read(path)["Plain"]["parameters"]) > 4 * (8 + 4 * 32 + 2)


def test_what_the_run_takes_on_gpus_is_shown_and_written(hcexp, tmp_path):
    path = tmp_path / "cost.csv"
    batch = ["data.batch_size=16", "trainer.accumulate_grad_batches=4", "steps=10", "model.layers=1"]
    options = [*SMALL, *batch, "residual=shc", "--csv", path, "--gpu", "H200"]
    status, out, err = hcexp("cost", *options, "--count", "2")
    named = ["trainer.devices=2", "trainer.accumulate_grad_batches=2"]
    assert (status, out, err) == hcexp("cost", *options, *named)
    assert (status, err) == (0, "") and "on 2 GPUs, h200" in out and "× 0.4) = " in out
    rows = read(path).values()
    assert [row["GPUs"] for row in rows] == ["2", "2"] and all(float(row["bytes in all"]) > 0 for row in rows)


BAD = {
    "measure=true": "measure=true is no override: write --measure",
    "residual=post_norm residual.n=4": "residual.n is not a knob of post_norm",
    "residual=dhcc,shc": "residual=dhcc is not known, did you mean dhc",
    "residual=dhc residual.n=0,2": "residual.n=0 is the expansion rate",
    "model=1b,7b": "model=1b,7b: only residual and its knobs can be lists here, and compile with --measure",
    "compile=true,false": "compile=true,false: only residual and its knobs can be lists here, and compile with --",
    "--sweep tabel2": "no sweep 'tabel2'. Did you mean table2?",
    "--sweep table2 residual=dhc": "residual=dhc: --sweep says which residual modes",
    "--sweep table2 --tuned none": "--tuned: runs/reports/none-tiny/tuned.yaml does not exist",
    "residual=dhc data.batch_size=3 trainer.devices=2": "data.batch_size=3 cannot be cut into 2 micro-",
    "--rounds 0": "argument --rounds: 0 must be a whole number, 1 or more",
    "--count 2": "--count 2 needs --gpu",
    "--gpu h20": "--gpu h20 is not known, did you mean h200",
    "--gpu h200 --utilisation 40": "--utilisation 40 is a share",
    "--gpu h200 --utilisation 0": "--utilisation 0 is a share",
    "--gpu h200 --count 3": "data.batch_size=4 cannot be shared",
    "dhc": "dhc is no override: write knob=value",
}


def test_what_cannot_be_counted_or_written_is_refused_in_a_line(refused, hcexp, monkeypatch, tmp_path):
    for arguments, line in BAD.items():
        assert refused("cost", *arguments.split()).startswith(line), arguments
    (tmp_path / "file").write_text("mine")
    assert refused("cost", *SMALL, "--csv", tmp_path) == f"--csv {tmp_path} is a folder: name a file"
    below = tmp_path / "file" / "new" / "cost.csv"
    assert refused("cost", *SMALL, "--csv", below).startswith(f"--csv {below} cannot be written: ")
    assert hcexp("cost", *SMALL, "--csv", tmp_path)[1] == "", "before anything is counted"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    monkeypatch.setattr(PostNorm, "expand", lambda self, h: h * h.sum().item())
    line = refused("cost", *SMALL, "residual=post_norm")
    assert line.startswith("residual=post_norm cannot be counted: DataDependentOutputException: ")


def test_a_step_that_does_not_fit_is_refused_before_it_is_made(refused, monkeypatch):
    """The states of this small model are a megabyte, and the activations of its step some fifty."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=20 * 10**6))
    line = refused("cost", *SMALL, "residual=shc", "--measure", "data.batch_size=512")
    assert line.startswith("--measure needs 0.0 GB for weights, gradients, optimizer states and a step's activations, ")
    assert line.endswith("lower data.batch_size, or raise trainer.accumulate_grad_batches")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**6))
    needed = 16 * (1_176_764_416 + 768) / 1e9  # one backbone for both
    line = refused("cost", "model=1b", "trainer.accelerator=cpu", "residual=shc", "--measure")
    assert line.startswith(f"--measure needs {needed:.1f} GB for weights, gradients and optimizer states, of which 0")
