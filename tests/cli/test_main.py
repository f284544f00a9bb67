import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hcexp import __version__
from hcexp.cli import VERBS

ROOT = Path(sys.modules["hcexp"].__file__).parents[1]
HEAVY = {"datasets", "lightning", "matplotlib", "mlflow", "numpy", "optuna", "pandas", "tokenizers", "torch"}


def test_help_names_every_verb_and_what_each_does_with_an_example(hcexp):
    assert hcexp("--version") == (0, f"hcexp {__version__}\n", "")
    for arguments in ([], ["--help"], ["-h"]):
        status, out, err = hcexp(*arguments)
        assert (status, err) == (0, "")
        assert [verb for verb, what in VERBS.items() if f"  {verb:8} {what}" not in out] == []
    for verb in VERBS:
        status, out, err = hcexp(verb, "--help")
        assert (status, err) == (0, "") and out.startswith(f"usage: hcexp {verb} ")
        doc = import_module(f"hcexp.cli.{verb}").__doc__.strip()
        assert doc.splitlines()[0] in out and f"example:\n  hcexp {verb}" in out


def test_what_reads_no_weights_imports_nothing_heavy(runs, trained):
    """Each in a process of its own would take Python's start; what is imported once stays."""
    here, there = str(runs / trained.dhc.identity), str(runs / trained.stopped.identity)
    (runs / "damaged").mkdir()
    (runs / "damaged" / "config.yaml").write_text("{")
    commands = {
        "--help": (0, ["--help"]),
        "version": (0, ["--version"]),
        "a verb's help": (0, ["train", "--help"]),
        "a verb": (2, ["trian"]),
        "an option": (2, ["train", "--resum"]),
        "runs": (0, ["runs", f"paths.runs={runs}", "residual=pre_norm,dhc"]),
        "compare": (0, ["compare", here, there]),
        "a run": (2, ["export", "none"]),
        "a knob": (2, ["train", "residul=dhc"]),
        "a choice": (2, ["train", "residual=dhcc"]),
        "a value": (2, ["train", "model.d=many"]),
    }
    code = f"""
import json, sys
from hcexp.cli import main
found = {{}}
for name, (status, arguments) in json.loads(sys.argv[1]).items():
    try:
        ended = main(arguments)
    except SystemExit as stop:
        ended = stop.code
    assert ended == status, name
    found[name] = sorted(set(sys.modules) & {HEAVY!r})
print(json.dumps(found))
"""
    command = [sys.executable, "-c", code, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {name: heavy for name, heavy in json.loads(done.stdout.splitlines()[-1]).items() if heavy} == {}


def test_python_m_hcexp_is_hcexp():
    done = subprocess.run([sys.executable, "-m", "hcexp", "trian"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hcexp: error: unknown verb trian, did you mean train\n"


def test_an_unknown_verb_is_answered_with_the_nearest(refused):
    for verb, meant in (("trian", "train"), ("Sweep", "sweep"), ("reports", "report")):
        assert refused(verb).startswith(f"unknown verb {verb}, did you mean {meant}")
    assert refused("xyzzy") == "unknown verb xyzzy"
    assert refused("bench", "--eager") == "unknown verb bench: write hcexp cost --measure compile=false,true"


@pytest.fixture
def broken(hcexp, monkeypatch):
    """Runs a verb that ends with an error."""
    from hcexp.cli import cost

    def run(error):
        def broken(arguments):
            raise error

        monkeypatch.setattr(cost, "main", broken)
        return hcexp("cost")

    return run


def test_a_fault_of_the_program_shows_where_it_is(broken):
    for error in (RuntimeError("a tensor of no size"), KeyError("lost"), AttributeError("no such"), TypeError("x")):
        status, _, err = broken(error)
        assert status == 2 and err.startswith("Traceback") and "in broken" in err
        assert err.splitlines()[-1] == f"hcexp: error: {error}"


def test_ctrl_c_and_the_death_of_another_process_are_said_in_one_line(broken):
    line = "hcexp: stopped; the same command goes on from the last checkpoint\n"
    assert broken(KeyboardInterrupt) == (130, "", line)
    for said in (
        "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:544] Connection closed by peer [127.0.0.1]:30241",
        "Application timeout caused pair closure: [../gloo/transport/tcp/unbound_buffer.cc:81]",
        "NCCL error: remote process exited or there was a network error\nncclRemoteError: A call failed",
    ):
        line = "hcexp: error: a process of the run died; the same command goes on from the last checkpoint\n"
        assert broken(RuntimeError(said)) == (2, "", line)


def test_a_traceback_can_be_asked_for(hcexp, monkeypatch):
    monkeypatch.setenv("HCEXP_TRACEBACK", "1")
    _, _, err = hcexp("cost", "model.d=abc")
    assert err.startswith("Traceback") and err.splitlines()[-1].startswith("hcexp: error: model.d=abc is not allowed")
