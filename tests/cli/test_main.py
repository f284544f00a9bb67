import subprocess
import sys
from pathlib import Path

import pytest

from hcexp.cli import VERBS

ROOT = Path(sys.modules["hcexp"].__file__).parents[1]


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_verb(hcexp, arguments):
    status, out, err = hcexp(*arguments)
    assert (status, err) == (0, "")
    for verb, what in VERBS.items():
        assert f"  {verb:8} {what}" in out


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_says_what_it_does_with_an_example(hcexp, verb):
    from importlib import import_module

    status, out, err = hcexp(verb, "--help")
    assert (status, err) == (0, "")
    assert out.startswith(f"usage: hcexp {verb} ")
    doc = import_module(f"hcexp.cli.{verb}").__doc__.strip()
    assert doc.splitlines()[0] in out
    assert f"example:\n  hcexp {verb}" in out


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = "import sys; from hcexp.cli import main; main(['--help']); assert not {'torch', 'mlflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)


def test_the_version_is_the_packages(hcexp):
    from hcexp import __version__

    assert hcexp("--version") == (0, f"hcexp {__version__}\n", "")


def test_python_m_hcexp_is_hcexp():
    done = subprocess.run([sys.executable, "-m", "hcexp", "trian"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "hcexp: error: unknown verb trian, did you mean train\n"


@pytest.mark.parametrize("verb, meant", [("trian", "train"), ("Sweep", "sweep"), ("reports", "report")])
def test_an_unknown_verb_is_answered_with_the_nearest(refused, verb, meant):
    assert refused(verb).startswith(f"unknown verb {verb}, did you mean {meant}")
    assert refused("xyzzy") == "unknown verb xyzzy"


def test_ctrl_c_is_one_line(hcexp, monkeypatch):
    from hcexp.cli import cost

    monkeypatch.setattr(cost, "main", lambda arguments: (_ for _ in ()).throw(KeyboardInterrupt))
    status, out, err = hcexp("cost")
    assert (status, out) == (130, "")
    assert err == "hcexp: stopped; the same command goes on from the last checkpoint\n"


@pytest.mark.parametrize(
    "error", [RuntimeError("a tensor of no size"), KeyError("lost"), AttributeError("no such"), TypeError("x")]
)
def test_a_fault_of_the_program_shows_where_it_is(hcexp, monkeypatch, error):
    from hcexp.cli import cost

    def broken(arguments):
        raise error

    monkeypatch.setattr(cost, "main", broken)
    status, _, err = hcexp("cost")
    assert status == 2
    assert err.startswith("Traceback") and "in broken" in err
    assert err.splitlines()[-1] == f"hcexp: error: {error}"


def test_a_traceback_can_be_asked_for(hcexp, monkeypatch):
    monkeypatch.setenv("HCEXP_TRACEBACK", "1")
    _, _, err = hcexp("cost", "model.d=abc")
    assert err.startswith("Traceback") and err.splitlines()[-1].startswith("hcexp: error: model.d=abc is not allowed")
