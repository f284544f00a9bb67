import csv
from dataclasses import asdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from hcexp.configuration import compose
from hcexp.report.measured import COLUMNS, FILE, Measured
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

    def make(label, seed, loss, suite="embedded", metrics=None, record=None, curve=None, curves=None, **result):
        return Outcome(
            label=label,
            seed=seed,
            state="finished",
            directory=Path("runs") / f"{label}-{seed}",
            metrics={f"{suite}/mean/loss": loss, **(metrics or {})},
            command=f"hcexp train label={label} seed={seed}",
            result={"steps": 100, "tokens": 6400, "parameters": 1000, "record": record or RECORD, **result},
            curve={"train/loss_ema99": curve} if curve else curves or {},
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


@pytest.fixture(scope="session")
def configuration():
    """A function: a run's configuration as it is recorded, of a small model; d = 32, 4 sublayers."""

    def make(*overrides):
        sizes = ("model.d=32", "model.layers=2", "model.heads=2", "model.inner=32", "steps=5")
        return OmegaConf.to_container(compose([*sizes, *overrides]), resolve=True)

    return make


@pytest.fixture
def measured():
    """A function: one row's measurement."""

    def make(**changes):
        values = {
            "parameters": 1000,
            "seconds": 0.25,
            "step": 1.0,
            "step_low": 1.0,
            "step_high": 1.0,
            "tokens_per_second": 4096.5,
            "peak_bytes": 2e9,
            "peak": 1.0,
            "peak_by": "an allocator",
            "device": "a device, of a kind",
            "compiled": "eager",
            "rounds": 15,
            "command": "hcexp cost --sweep asked measure=true",
        }
        return Measured(**{**values, **changes})

    return make


@pytest.fixture
def leave():
    """A function: leaves measurements by label in a report's folder, as `hcexp cost` does."""

    def write(folder, rows):
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / FILE, "w", encoding="utf-8", newline="") as file:
            out = csv.DictWriter(file, fieldnames=["row", "something else", *COLUMNS.values()])
            out.writeheader()
            for label, row in rows.items():
                out.writerow({"row": label, **{COLUMNS[name]: value for name, value in asdict(row).items()}})

    return write


@pytest.fixture
def costly(sweep, finished, configuration):
    """A function: a sweep of Pre-Norm and DHC×2 under two seeds, and its outcomes with all that a cost is made of.

    DHC×2 runs at half and at 0.6 of the baseline's speed, and takes a quarter more memory.
    """

    def make(labels=("OLMo-1B", "DHC×2")):
        recorded = (configuration("residual=pre_norm"), configuration("residual=dhc", "residual.n=2"))
        perf = {
            (0, 0): (1000.0, 8e9),
            (0, 1): (2000.0, 4e9),
            (1, 0): (500.0, 10e9),
            (1, 1): (1200.0, 5e9),
        }
        outcomes = [
            finished(
                label,
                seed,
                4.0 - index,
                metrics=dict(zip(("perf/tokens_per_second", "perf/peak_memory_bytes"), perf[index, seed], strict=True)),
                config=recorded[index],
            )
            for index, label in enumerate(labels)
            for seed in (0, 1)
        ]
        return sweep(labels=labels, seeds=(0, 1)), outcomes

    return make


@pytest.fixture
def evaluated(sweep, finished, configuration):
    """A function: a sweep of two rows of the paper and one of its own under two seeds, measured on these metrics.

    `metrics` maps names to the value of seed 0 of the first row; each further row has 0.25 less, each further seed 0.5
    more. The knobs are those of the runs' configuration.
    """

    def make(metrics, *knobs, labels=("OLMo-1B", "DHC×2 W/O tanh", "mHC×4"), table=None, curves=None):
        config = configuration(*knobs)
        outcomes = [
            finished(
                label,
                seed,
                1.0,
                suite=next(iter(metrics)).partition("/")[0],
                metrics={name: value - 0.25 * index + 0.5 * seed for name, value in metrics.items()},
                config=config,
                curves=curves,
            )
            for index, label in enumerate(labels)
            for seed in (0, 1)
        ]
        return sweep(labels=labels, seeds=(0, 1), table=table), outcomes

    return make
