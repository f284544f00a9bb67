import getpass
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

from hcexp.run.record import PACKAGE, code, git, record


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


def test_git_is_of_our_own_checkout_alone(tmp_path, monkeypatch):
    def run(*arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True, capture_output=True)

    package, installed = tmp_path / "package", tmp_path / "venv" / "site-packages" / "hcexp"
    for folder in (package, installed):
        folder.mkdir(parents=True)
        (folder / "a.py").write_text("a = 1\n")
    run("init", "-b", "trunk")
    run("add", "package")
    run("commit", "-m", "first")
    state = git(package)
    assert len(state["commit"]) == 40 and state["branch"] == "trunk"
    assert state["dirty"] is False, "a file nobody tracks is not a change"
    (package / "a.py").write_text("a = 2\n")
    run("checkout", "--detach")
    assert git(package)["dirty"] is True and git(package)["branch"] is None
    assert git(installed) == git(tmp_path / "missing") == {}
    monkeypatch.setenv("PATH", "")
    assert git(package) == {}


def test_the_code_is_the_same_on_every_machine(tmp_path):
    here, there = tmp_path / "here" / "sub", tmp_path / "there" / "sub"
    for folder, files, ends in ((here, ("b.py", "a.py"), "\n"), (there, ("a.py", "b.py"), "\r\n")):
        folder.mkdir(parents=True)
        for file in files:
            (folder / file).write_bytes(f"# {file}{ends}".encode())
    first = code(here.parent)
    (here / "data.json").touch()
    assert code(here.parent) == code(there.parent) == first, "only code counts"
    shutil.move(here / "a.py", here.parent / "a.py")
    assert code(here.parent) != first, "a name counts"
    (there / "a.py").write_text("# A.py\n")
    assert code(there.parent) != first


def test_the_code_is_what_training_can_reach(tmp_path):
    package = shutil.copytree(PACKAGE, tmp_path / "hcexp", ignore=shutil.ignore_patterns("*.pyc"))
    before = code(package)
    unreached = set()
    for room in package.glob("*/__init__.py"):
        room.write_text(room.read_text() + "# another letter\n")
        if (after := code(package)) == before:
            unreached.add(room.parent.name)
        before = after
    assert unreached == {"analysis", "cli", "cost", "paper", "report", "study", "tables"}
