"""The search of one row: its Optuna study, the draws, and the points that they make."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from omegaconf import OmegaConf
from optuna.distributions import FloatDistribution
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from hcexp.configuration import compose
from hcexp.run.run import Run
from hcexp.study.claim import Claim, settle_alike, settled, take
from hcexp.study.point import Point
from hcexp.study.queue import StudyQueue
from hcexp.study.search.journal import exclusive
from hcexp.study.search.pruning import DRAW, IDENTITY, one_a_draw, one_a_run
from hcexp.study.search.result import RowResult, trial_record
from hcexp.study.search.space import Space
from hcexp.study.sweep.overrides import override, read


@dataclass(frozen=True)
class TrialPoint(Point):
    """A row with the values of one of its trials."""

    draw: int
    pruning: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.row.label}, trial {self.draw}"

    @property
    def arguments(self) -> list[str]:
        return [*super().arguments, *self.pruning]


class RowSearch(StudyQueue):
    """A row's study, which is made with its first draw; each draw is a point.

    `name` is what the studies of a sweep have in common, `point` the row in its default configuration.
    """

    def __init__(self, name: str, point: Point, space: Space, journal: Path, storage: Callable[[], JournalStorage]):
        self._space = space
        self._point = _evaluated(point, space)
        self._default = _defaults(self._point, space)
        content = [self._point.run.identity, space.knobs, space.startup, space.pruner]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
        super().__init__(f"{name}: {point.row.label} ({digest})", journal, storage, space.trials)
        self._runs: dict[tuple[str, ...], Run] = {}

    def need(self) -> tuple[int, int]:
        """Trials at work and draws; the row with the least comes next."""
        latest = self._latest()
        return sum(trial.state == TrialState.RUNNING for trial in latest), len(latest)

    def claim(self) -> Claim | None:
        """A point that was drawn and that nobody is at, or else that of another draw; None if neither is left."""
        self._try_again()
        while True:
            self._settle_repeats()
            for trial in one_a_run(self._latest()):
                if not trial.state.is_finished() and (claim := take(self._study, trial, self._point_of(trial))):
                    return claim
            if not self._draw():
                return None

    def known(self) -> list[tuple[str, str]]:
        return [(trial.user_attrs[IDENTITY], self._point.row.label) for trial in self._latest()]

    def found(self) -> RowResult:
        row = self._point.row
        return RowResult(row.label, row.overrides, tuple(trial_record(trial) for trial in self._latest()))

    def _latest(self) -> list[FrozenTrial]:
        """In the order of the draws; of a search that had more trials before, the first ones."""
        if not self._journal.exists():
            return []
        return one_a_draw(self._study.get_trials(deepcopy=False))[: self._space.trials]

    def _settle_repeats(self) -> None:
        """A point is run once: a draw of the same values as an earlier one ends as that one does."""
        if self._repeats():
            with exclusive(self._journal):
                for trial, first in self._repeats():
                    settle_alike(self._study, trial, first)

    def _repeats(self) -> list[tuple[FrozenTrial, FrozenTrial]]:
        """The draws that are to be settled because an earlier one of the same run is; with that one."""
        latest = self._latest()
        first = {trial.user_attrs[IDENTITY]: trial for trial in one_a_run(latest)}
        pairs = [(trial, first[trial.user_attrs[IDENTITY]]) for trial in latest]
        return [(trial, first) for trial, first in pairs if settled(first) and not trial.state.is_finished()]

    def _draw(self) -> bool:
        """Enter another draw; False if the row has had all of its."""
        with exclusive(self._journal):
            latest = self._latest()
            if len(latest) == self._space.trials:
                return False
            values = self._sample(latest) if latest else self._default
            point = replace(self._point, run=self._run(values))
            self._add(point, {DRAW: len(latest)}, params=values, distributions=self._space.distributions)
        return True

    def _sample(self, latest: Sequence[FrozenTrial]) -> dict[str, Any]:
        """The next values, from a copy of the study with one trial a draw, and numbers of its own."""
        seed = int(np.random.SeedSequence(len(latest)).generate_state(1)[0])
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=self._space.startup, constant_liar=True)
        copy = optuna.create_study(sampler=sampler)
        for trial in latest:
            if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED):
                trial = create_trial(state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions)
            copy.add_trial(trial)
        return copy.ask(self._space.distributions).params

    def _point_of(self, trial: FrozenTrial) -> TrialPoint:
        run, draw = self._run(trial.params), trial.user_attrs[DRAW]
        return TrialPoint(self._point.row, self._point.seed, run, draw, self._pruning(trial))

    def _run(self, values: Mapping[str, Any]) -> Run:
        """Kept, for composing takes a good part of a second."""
        drawn = tuple(override(knob, values[knob]) for knob in self._space.knobs)
        if drawn not in self._runs:
            overrides = [*self._point.run.overrides, *drawn]
            self._runs[drawn] = Run(compose(overrides), overrides)
        return self._runs[drawn]

    def _pruning(self, trial: FrozenTrial) -> tuple[str, ...]:
        if not self._space.pruner:
            return ()
        callback = {
            "_target_": "hcexp.study.search.pruning.Pruning",
            "journal": str(self._journal.absolute()),
            "study": self._name,
            "trial": trial.number,
            "pruner": self._space.pruner,
        }
        return (override("++callbacks.pruning", callback),)


def _evaluated(point: Point, space: Space) -> Point:
    """The point with as many validations as the space wants, unless `evaluation.every` was given explicitly."""
    run, steps = point.run, point.run.config.steps
    if space.validations and "evaluation.every" not in read(run.overrides):
        config = deepcopy(run.config)
        config.evaluation.every = math.ceil(steps / space.validations)
        run = Run(config, [*run.overrides, f"evaluation.every={config.evaluation.every}"])
    every = run.config.evaluation.every
    if space.pruner and not 0 < (every or 0) < steps:
        raise ValueError(
            f"evaluation.every={every} of {steps} steps leaves a pruner nothing to look at: "
            "set validations of the search, or pruner: none"
        )
    return replace(point, run=run)


def _defaults(point: Point, space: Space) -> dict[str, Any]:
    """The values that the row has without a search, which must be in the space."""
    config = point.run.config
    values = {}
    for knob, distribution in space.distributions.items():
        value = config.choices.get(knob, OmegaConf.select(config, knob, default=space))
        if value is space:  # no such knob: composing says so, and which one is meant
            compose([*point.run.overrides, override(knob, 0)])
        where = f"search: {knob}={value}, the default of the row {point.row.label},"
        if type(value) is int and isinstance(distribution, FloatDistribution):
            raise ValueError(f"{where} is a whole number: give low, high and step as whole numbers")
        try:
            contained = distribution._contains(distribution.to_internal_repr(value))
        except ValueError:
            contained = False
        if not contained:
            domain = ", ".join(f"{key} {each}" for key, each in space.knobs[knob].items())
            raise ValueError(f"{where} is not among what is searched ({domain}), and the first trial is the default")
        values[knob] = value
    return values
