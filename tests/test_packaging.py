"""What is shipped: the wheel holds all that a run needs, and constraints.txt fits anybody's machine."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without a network, from a copy of what is tracked."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [*PIP, "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "--no-index", "-w", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python on the installed wheel, far from the checkout."""
    folder, elsewhere = tmp_path_factory.mktemp("installed"), tmp_path_factory.mktemp("elsewhere")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}

    def python(*arguments):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    found = python("-c", "import hcexp; print(hcexp.__file__)").strip()
    assert Path(found) == folder / "hcexp" / "__init__.py"
    return python


def test_the_wheel_holds_what_is_no_code(wheel):
    names = set(ZipFile(wheel).namelist())
    for folder in ("conf", "sweeps"):
        for path in (ROOT / folder).rglob("*.yaml"):
            assert f"hcexp/{path.relative_to(ROOT).as_posix()}" in names
    kept = [p for p in (ROOT / "hcexp").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {p.relative_to(ROOT).as_posix() for p in kept} <= names
    suffixes = {Path(name).suffix for name in names}
    assert {".parquet", ".json", ".j2", ".css", ".js"} <= suffixes
    assert {"hcexp/paper/tables.json", "hcexp/data/corpus/tokenizer.json"} <= names
    assert not [name for name in names if name.startswith(("tests/", "conf/", "sweeps/")) or "__pycache__" in name]


@pytest.mark.slow
def test_the_installed_wheel_counts_trains_and_reports(installed, minute, tmp_path):
    dhc = ["residual=dhc", "residual.n=4"]
    commands = [["cost", "model=1b", *dhc], ["train", *minute, *dhc], ["report", "quick", *minute]]
    code = f"from hcexp.cli import main; print(*map(main, {commands!r}))"  # one process: it takes seconds to start
    out = installed("-c", code)
    for shown in ("1,177,158,464", "local/mean/loss", "OLMo-1B", "–", "\n0 0 0\n"):
        assert shown in out, shown
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 1


def test_constraints_pin_all_that_the_project_names(project):
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert "torch==2.13.0" in {line.partition(" ;")[0] for line in lines}
    extras = project["project"]["optional-dependencies"].values()
    named = [*project["project"]["dependencies"], *(one for extra in extras for one in extra)]
    assert {re.match(r"[\w.-]+", one)[0].lower() for one in named} <= pinned
    from packaging.requirements import Requirement

    for requirement in map(Requirement, named):
        own = [line for line in lines if line.lower().startswith(f"{requirement.name}==")]
        versions = [line.partition("==")[2].partition(" ;")[0] for line in own]
        assert versions and all(requirement.specifier.contains(version) for version in versions), requirement


def test_the_version_and_the_command_are_the_packages(project):
    import hcexp

    assert project["project"]["version"] == hcexp.__version__
    assert project["project"]["scripts"]["hcexp"] == "hcexp.cli:main"


def test_the_set_up_installs_the_downstream_tasks_by_the_line_that_an_error_prints(project):
    from hcexp.evaluation.downstream.tasks import INSTALL

    makefile = (ROOT / "Makefile").read_text()
    arguments = INSTALL.removeprefix("pip install ")
    assert f"TASKS := {arguments}\n" in makefile
    assert makefile.count("$(PIP) $(TASKS)") == makefile.count("$(PIP) -e ") == 2
    # What it asks for could not be installed beside the project's own requirements.
    assert "olmo-eval" not in (ROOT / "constraints.txt").read_text() + (ROOT / "pyproject.toml").read_text()
