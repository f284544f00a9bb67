"""What became of the points of a sweep that have no result."""

from hcexp.study.sweep import Outcome


def name(outcome: Outcome) -> str:
    return f"{outcome.label}, seed {outcome.seed}"


def state(outcome: Outcome) -> str:
    """`missing`, `failed`, or `pruned at step 40`."""
    return f"pruned at step {outcome.result['steps']}" if outcome.state == "pruned" else outcome.state


def became(outcome: Outcome) -> str:
    """The state, and the error if there is one."""
    return f"{state(outcome)}: {outcome.error}" if outcome.error else state(outcome)
