import getpass
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from hcexp.run.record import PACKAGE, code, git, record


@pytest.fixture
def checkout(tmp_path):
    def run(*arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    run("init", "-b", "trunk")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text("a = 1\n")
    run("add", ".")
    run("commit", "-m", "first")
    return tmp_path, run


def test_it_says_what_made_a_run_and_holds_no_secret(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_1234567890abcdef")
    made = record()
    assert set(made) == {"git", "versions", "hardware", "code"} and len(made["code"]) == 64
    libraries = {"python", "torch", "lightning", "mlflow", "datasets", "tokenizers", "hydra-core", "hcexp"}
    assert libraries == set(made["versions"])
    assert made["hardware"]["cores"] == os.cpu_count() and made["hardware"]["memory"] > 2**28
    assert made["hardware"]["gpu_count"] == len(made["hardware"]["gpus"])
    secrets = ("hf_1234567890abcdef", socket.gethostname(), str(Path.home()), str(PACKAGE.parent))
    assert not [secret for secret in (*secrets, f"/{getpass.getuser()}") if secret in json.dumps(made)]


def test_git_is_of_our_own_checkout_alone(checkout, tmp_path, monkeypatch):
    folder, run = checkout
    state = git(folder / "package")
    assert len(state["commit"]) == 40 and state["branch"] == "trunk" and state["dirty"] is False
    (folder / "notes.txt").touch()
    assert git(folder / "package")["dirty"] is False, "a file nobody tracks is not a change"
    (folder / "package" / "a.py").write_text("a = 2\n")
    assert git(folder / "package")["dirty"] is True
    run("checkout", "--detach")
    assert git(folder / "package")["branch"] is None
    installed = folder / "venv" / "site-packages" / "hcexp"
    installed.mkdir(parents=True)
    (installed / "a.py").touch()
    assert git(installed) == git(tmp_path / "missing") == {}
    monkeypatch.setenv("PATH", "")
    assert git(folder / "package") == {}


def test_the_code_is_the_same_on_every_machine(tmp_path):
    for name, ends in (("here", b"\n"), ("there", b"\r\n")):
        for file in ("b.py", "a.py") if name == "here" else ("a.py", "b.py"):
            (tmp_path / name / "sub").mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "sub" / file).write_bytes(f"# {file}".encode() + ends)
    first = code(tmp_path / "here")
    assert first == code(tmp_path / "there")
    (tmp_path / "here" / "data.json").touch()
    assert code(tmp_path / "here") == first, "only code counts"
    shutil.move(tmp_path / "here" / "sub" / "a.py", tmp_path / "here" / "a.py")
    assert code(tmp_path / "here") != first, "a name counts"
    (tmp_path / "there" / "sub" / "a.py").write_text("# A.py\n")
    assert code(tmp_path / "there") != first


def test_the_code_is_what_training_can_reach(tmp_path):
    package = shutil.copytree(PACKAGE, tmp_path / "hcexp", ignore=shutil.ignore_patterns("*.pyc"))
    before = code(package)
    counts = {}
    for room in sorted(path.parent for path in package.glob("*/__init__.py")):
        with (room / "__init__.py").open("a") as file:
            file.write("# another letter\n")
        counts[room.name] = (after := code(package)) != before
        before = after
    unreached = {"analysis", "cli", "cost", "paper", "report", "study", "tables"}
    assert {room for room, count in counts.items() if not count} == unreached and counts["residual"] and counts["run"]
