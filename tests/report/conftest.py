from pathlib import Path

import pytest

from hcexp.study.sweep import Outcome, Row, Sweep

RECORD = {
    "git": {"commit": "a" * 40, "branch": "main", "dirty": False},
    "versions": {"python": "3.11.4", "torch": "2.13.0"},
    "hardware": {"cpu": "a processor", "cores": 2, "memory": 1, "gpus": []},
    "code": "c" * 64,
}


@pytest.fixture
def sweep():
    """A function: the sweep of these labels and seeds, the first label the baseline."""

    def make(labels=("OLMo-1B", "DHC×1", "DHC×2", "DHC×4"), seeds=(0, 1, 2), table=1, **others):
        rows = tuple(Row(label, (f"residual.n={index}",)) for index, label in enumerate(labels))
        named = {"name": "asked", "title": "A question", "baseline": labels[0], **others}
        return Sweep(table=table, rows=rows, seeds=seeds, **named)

    return make


@pytest.fixture
def finished():
    """A function: a finished outcome with a mean loss in a suite, and whatever else is given."""

    def make(label, seed, loss, suite="embedded", metrics=None, record=None, curve=None, **result):
        return Outcome(
            label=label,
            seed=seed,
            state="finished",
            directory=Path("runs") / f"{label}-{seed}",
            metrics={f"{suite}/mean/loss": loss, **(metrics or {})},
            command=f"hcexp train label={label} seed={seed}",
            result={"steps": 100, "tokens": 6400, "parameters": 1000, "record": record or RECORD, **result},
            curve={"train/loss_ema99": curve} if curve else {},
        )

    return make


@pytest.fixture
def losses(finished):
    """A function: outcomes from {label: [loss of seed 0, of seed 1, …]}; None leaves a point out."""

    def make(table, **others):
        return [
            finished(label, seed, loss, **others)
            for label, values in table.items()
            for seed, loss in enumerate(values)
            if loss is not None
        ]

    return make
