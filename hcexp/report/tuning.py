"""Which tuned values the rows of a sweep were trained with."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from hcexp.study.sweep.sweep import Outcome, Sweep


def tuning(sweep: Sweep, finished: Sequence[Outcome]) -> str:
    """Whose values they are, and those that each finished row was trained with; nothing if the sweep takes none.

    Where a row or the command line asked for another value, this one is shown, and marked.
    """
    if not sweep.tuning:
        return ""
    said = [f"search {sweep.tuning.sweep}, {sweep.tuning.trials} trials a row, from {sweep.tuning.file}"]
    for label, outcome in {outcome.label: outcome for outcome in finished}.items():
        tuned = sweep.tuning.rows[label]
        trained = {knob: _value(outcome.result["config"], knob) for knob in tuned}
        marks = {knob: "" if trained[knob] == tuned[knob] else f" (given; tuned {tuned[knob]})" for knob in tuned}
        said.append(f"{label}: " + ", ".join(f"{knob} {trained[knob]}{marks[knob]}" for knob in tuned))
    return "; ".join(said)


def _value(config: Mapping[str, Any], knob: str) -> Any:
    """A knob's in a recorded configuration; of a group the choice."""
    if knob in config["choices"]:
        return config["choices"][knob]
    return reduce(lambda section, name: section[name], knob.split("."), config)
