"""The rules of the house, read from the code: floors, rooms, and who may know the residual modes."""

import ast
import sys
from pathlib import Path

import pytest

import hcexp
from hcexp.configuration import shipped
from tests.registered import MODES, residual

PACKAGE = Path(hcexp.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))
# Lowest first; a file imports from its own room and from floors below its own.
FLOORS = (
    ("disk",),
    ("residual", "paper", "tables", "configuration", "objective", "tracking"),
    ("data", "model"),
    ("evaluation", "huggingface", "optim", "callbacks"),
    ("run",),
    ("analysis", "study"),
    ("cost",),
    ("report",),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    """Every module that a file imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path):
    for module in imports(ast.parse(path.read_text())):
        top, _, rest = module.partition(".")
        if top == "hcexp" and rest:
            yield rest.split(".")[0]


def upward(room, imported):
    return [other for other in imported if other != room and other in FLOOR and FLOOR[other] >= FLOOR[room]]


def test_every_room_has_a_floor():
    rooms = {path.name for path in ROOMS} | {"configuration"}
    assert rooms <= set(FLOOR)
    known = {"hcexp", "__init__", "__main__", *FLOOR}
    assert {room_of(path) for path in FILES} <= known
    assert not {"utils", "common", "helpers"} & {part for path in FILES for part in path.relative_to(PACKAGE).parts}


def test_imports_run_downward():
    runs_up = {name_of(path): upward(room_of(path), rooms_imported(path)) for path in FILES if room_of(path) in FLOOR}
    assert {name: up for name, up in runs_up.items() if up} == {}


def test_the_walk_finds_an_import_that_runs_upward():
    tree = ast.parse("def f():\n    from hcexp.study import plan\n    import hcexp.cli.main\n    from hcexp import run")
    found = [module.split(".")[1] for module in imports(tree) if "." in module]
    assert upward("model", found) and {"study", "cli", "run"} <= set(found)
    assert upward("study", ["cost"]) and upward("data", ["model"]) and not upward("cli", ["report", "run", "cli"])


def test_the_subject_imports_torch_and_itself_alone():
    for path in (PACKAGE / "residual").rglob("*.py"):
        modules = {module.split(".")[0] for module in imports(ast.parse(path.read_text()))}
        assert modules - set(sys.stdlib_module_names) <= {"torch", "hcexp"}, path
        assert set(rooms_imported(path)) <= {"residual"}, path


def test_every_room_and_every_file_says_what_it_is():
    said = {name_of(path): ast.get_docstring(ast.parse(path.read_text())) or "" for path in FILES}
    assert [name for name, text in said.items() if not text] == []
    assert [name for name, text in said.items() if name.endswith("/__init__.py") and len(text) <= 20] == []


CLASSES = {"HyperConnections", *(residual(f"residual={mode}").func.__name__ for mode in MODES)}


def questions(tree):
    """Lines that compare or match anything with the name of a residual mode, or ask for the class of one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.match_case):
            asked = [node.pattern]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = node.args[1:]
        elif isinstance(node, ast.Dict):  # a table of modes is the same question
            asked = [key for key in node.keys if key]
        else:
            continue
        inside = [part for one in asked for part in ast.walk(one)]
        if any(isinstance(p, ast.Constant) and p.value in MODES for p in inside) or any(
            getattr(p, "id", getattr(p, "attr", None)) in CLASSES for p in inside
        ):
            yield node.lineno if hasattr(node, "lineno") else node.pattern.lineno


def test_nobody_outside_asks_which_mode_it_is():
    asked = {
        name_of(path): list(questions(ast.parse(path.read_text()))) for path in FILES if room_of(path) != "residual"
    }
    assert {name: lines for name, lines in asked.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        "if config.residual == 'dhc': pass",
        "x = 1 if mode in ('shc', 'other') else 2",
        "match mode:\n  case 'pre_norm': pass",
        "isinstance(stream, PreNorm)",
        "factor = {'dhc': 2}[mode]",
    ],
)
def test_the_walk_finds_such_a_question(code):
    assert list(questions(ast.parse(code)))


def test_every_group_of_knobs_is_a_room():
    without_room = {"trainer", "scale"}
    shared = {"optimizer": "optim", "schedule": "optim", "downstream": "evaluation"}
    for group in {path.parent.name for path in shipped("conf").glob("*/*.yaml")} - without_room:
        room = shared.get(group, group)
        assert (PACKAGE / room / "__init__.py").is_file(), group
        for path in (shipped("conf") / group).glob("*.yaml"):
            targets = [line.split()[-1] for line in path.read_text().splitlines() if "_target_:" in line]
            assert all(target.startswith(f"hcexp.{room}.") for target in targets), path


def test_tests_mirror_the_package():
    tests = Path(__file__).parent
    for room in ROOMS:
        assert list((tests / room.name).glob("test_*.py")), room.name
