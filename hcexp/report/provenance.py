"""What the runs were made with, and what speaks against comparing them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from hcexp.optim.schedule import warmup_steps
from hcexp.report.looks import has, look, marked
from hcexp.report.results import Results
from hcexp.report.suites import DOWNSTREAM, MEASURES, RUN_METRICS, TASK_MEASURES, part_names, title
from hcexp.run.describe import decay
from hcexp.study.sweep.sweep import Outcome
from hcexp.tables.format import NOTHING


def setup(results: Results, scale: str) -> tuple[tuple[str, str], ...]:
    """Named facts, in reading order. What no run recorded is left out."""
    finished, looks = results.finished, results.looks
    record = [outcome.result.get("record") or {} for outcome in finished]
    facts = [
        ("scale", scale),
        ("parameters", _range(outcome.result.get("parameters") for outcome in finished)),
        ("tokens", _range(outcome.result.get("tokens") for outcome in finished)),
        ("steps", _range(outcome.result.get("steps") for outcome in finished)),
        ("learning rate", _distinct(_learning_rate(outcome.result.get("config") or {}) for outcome in finished)),
        ("evaluated on", ", ".join(marked(title(name), looks.get(name)) for name in results.benchmarks) or NOTHING),
        ("seeds", ", ".join(map(str, results.sweep.seeds))),
        ("tuned values", _tuning(results)),
        ("hardware", _distinct(_hardware(each.get("hardware")) for each in record)),
        ("versions", _distinct(_pairs(each.get("versions")) for each in record)),
        ("git", _distinct(_git(each.get("git")) for each in record)),
        ("code", _distinct(_short(each.get("code")) for each in record)),
    ]
    return tuple((name, text) for name, text in facts if text)


def warnings(results: Results) -> tuple[str, ...]:
    """One sentence each: other code, hardware, length, sets or tasks; values that are not finite."""
    finished = results.finished
    said = []
    for what, key in (
        ("made with different code (their code hashes differ)", lambda outcome: _record(outcome).get("code")),
        ("made with different hardware", lambda outcome: _hardware(_record(outcome).get("hardware"))),
        ("made with different versions", lambda outcome: _pairs(_record(outcome).get("versions"))),
        ("made with different numbers of tokens", lambda outcome: outcome.result.get("tokens")),
        *_measured_otherwise(results),
    ):
        groups: dict[Any, list[str]] = {}
        for outcome in finished:
            if key(outcome):
                groups.setdefault(key(outcome), []).append(f"{outcome.label}, seed {outcome.seed}")
        if len(groups) > 1:
            said.append(f"Runs were {what}: {_groups(groups)}.")
    if any(_git_dirty(outcome) for outcome in finished):
        said.append("Some runs were made from a checkout with changes that are in no commit.")
    shown = {*RUN_METRICS, *(f"{suite}/mean/{name}" for suite in results.suites for name in MEASURES)}
    broken = results.frame[results.frame["metric"].isin(shown) & ~np.isfinite(results.frame["value"])]
    for (label, metric), lines in broken.groupby(["row", "metric"], sort=False):
        seeds = ", ".join(map(str, lines["seed"]))
        said.append(f"{label}: {metric} is not finite under seed {seeds}: no interval, no sign.")
    return tuple(said)


def _measured_otherwise(results: Results) -> Iterator[tuple[str, Callable[[Outcome], Any]]]:
    """Of every benchmark: the sets or tasks, and how much of each; a run that was not measured on it does not count."""
    for benchmark in results.benchmarks:
        tasks = benchmark == DOWNSTREAM
        measures = TASK_MEASURES if tasks else MEASURES

        def names(outcome: Outcome, of: str = benchmark, measures: Iterable[str] = tuple(measures)) -> frozenset[str]:
            return frozenset(name for measure in measures for name in part_names(outcome.metrics, of, measure))

        def read(outcome: Outcome, of: str = benchmark) -> str:
            return (look(outcome, of) or "whole") if has(outcome, of) else ""

        what = "downstream tasks" if tasks else f"sets of {title(benchmark)}"
        yield f"measured on different {what}, so that their means cannot be compared", names
        yield f"measured on different amounts of {what}, so that their scores cannot be compared", read


def _groups(groups: Mapping[Any, Sequence[str]]) -> str:
    # The largest group is the rule, and goes unnamed.
    ordered = sorted(groups.values(), key=len, reverse=True)
    odd = [run for group in ordered[1:] for run in group]
    named = "; ".join(odd[:6]) + (f"; and {len(odd) - 6} more" if len(odd) > 6 else "")
    return f"{len(ordered[0])} agree, these do not: {named}"


def _record(outcome: Outcome) -> Mapping[str, Any]:
    return outcome.result.get("record") or {}


def _git_dirty(outcome: Outcome) -> bool:
    return bool((_record(outcome).get("git") or {}).get("dirty"))


def _range(numbers: Iterable[int | None]) -> str:
    known = sorted({number for number in numbers if number is not None})
    if not known:
        return ""
    return f"{known[0]:,}" if len(known) == 1 else f"{known[0]:,} to {known[-1]:,}"


def _learning_rate(config: Mapping[str, Any]) -> str:
    """`0.003, 25 steps of warm-up, cosine to 10 %`."""
    peak, schedule = (config.get("optimizer") or {}).get("lr"), config.get("schedule") or {}
    if peak is None or "shape" not in schedule:
        return ""
    warmup = warmup_steps(config["steps"], schedule["warmup"], schedule["warmup_share"])
    parts = [f"{peak:g}", f"{warmup:,} steps of warm-up"]
    return ", ".join((*parts, decay(config) or schedule["shape"]))


def _distinct(texts: Iterable[str]) -> str:
    return " · ".join(dict.fromkeys(text for text in texts if text))


def _short(digest: Any) -> str:
    return str(digest)[:12] if digest else ""


def _git(git: Mapping[str, Any] | None) -> str:
    if not git or not git.get("commit"):
        return ""
    branch = f" on {git['branch']}" if git.get("branch") else ""
    return f"{_short(git['commit'])}{branch}{' with uncommitted changes' if git.get('dirty') else ''}"


def _hardware(hardware: Mapping[str, Any] | None) -> str:
    """GPUs if there are any, else the processor; memory is left out, which varies from boot to boot."""
    if not hardware:
        return ""
    gpus = hardware.get("gpus") or []
    if gpus:
        return ", ".join(f"{gpus.count(name)} × {name}" for name in dict.fromkeys(gpus))
    cores = f", {hardware['cores']} cores" if hardware.get("cores") else ""
    known = hardware.get("cpu")
    return f"{known}{cores}" if known else _pairs(hardware)


def _pairs(mapping: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{key} {value}" for key, value in (mapping or {}).items() if value is not None)


def _tuning(results: Results) -> str:
    """Whose tuned values the rows were trained with, and which; nothing if the sweep takes none.

    Where a row or the command line asked for another value, this one is shown, and marked.
    """
    tuning = results.sweep.tuning
    if not tuning:
        return ""
    said = [f"search {tuning.sweep}, {tuning.trials} trials a row, from {tuning.file}"]
    for label in results.labels:
        for run in results.runs(label)[:1]:
            tuned = tuning.rows[label]
            trained = {knob: _value(run.result["config"], knob) for knob in tuned}
            marks = {knob: "" if trained[knob] == tuned[knob] else f" (given; tuned {tuned[knob]})" for knob in tuned}
            said.append(f"{label}: " + ", ".join(f"{knob} {trained[knob]}{marks[knob]}" for knob in tuned))
    return "; ".join(said)


def _value(config: Mapping[str, Any], knob: str) -> Any:
    """The value of a knob in a recorded configuration; of a group the choice."""
    if knob in config["choices"]:
        return config["choices"][knob]
    return reduce(lambda section, name: section[name], knob.split("."), config)
