import csv
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from hcexp.analysis.folder import Manifest, write_manifest, write_numbers
from hcexp.analysis.tables import Connections, Numbers, frame, matrix_cells
from hcexp.configuration import compose
from hcexp.cost.benchmark import COLUMNS, FILE, StepTiming
from hcexp.report.render import html
from hcexp.report.report import build
from hcexp.study.sweep.sweep import Outcome, Row, Sweep

RECORD = {
    "git": {"commit": "a" * 40, "branch": "main", "dirty": False},
    "versions": {"python": "3.11.4", "torch": "2.13.0"},
    "hardware": {"cpu": "a processor", "cores": 2, "memory": 1, "gpus": []},
    "code": "c" * 64,
}


@pytest.fixture(scope="session")
def sweep():
    """A function: the sweep of these labels and seeds, the first label the baseline."""

    def make(labels=("OLMo-1B", "DHC×1", "DHC×2", "DHC×4"), seeds=(0, 1, 2), table=1, **others):
        rows = tuple(Row(label, (f"residual.n={index}",)) for index, label in enumerate(labels))
        named = {"name": "asked", "title": "A question", "baseline": labels[0], **others}
        return Sweep(table=table, rows=rows, seeds=seeds, **named)

    return make


@pytest.fixture(scope="session")
def finished():
    """A function: a finished outcome with a mean loss in a suite, and whatever else is given."""

    def make(label, seed, loss, suite="corpus", metrics=None, record=None, curve=None, curves=None, **result):
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
            "command": "hcexp cost --sweep asked --measure",
        }
        return StepTiming(**{**values, **changes})

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
                values = asdict(row)
                out.writerow({"row": label, **{column: values[name] for name, column in COLUMNS.items()}})

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


@pytest.fixture(scope="session")
def analysed():
    """A function: leaves connection matrices in a run's folder, as `hcexp analyse` does.

    They are of four sublayers with n streams, without an effect on each other but for `shift`; of the weights after
    `step` steps.
    """

    def leave(directory, n=2, shift=0.0, kinds=("attention", "feed_forward") * 2, step=100):
        sublayers = len(kinds)
        C_0 = np.tril(np.full((sublayers + 1, sublayers + 1), 0.5 + shift))
        C_0[-1] = n
        C = np.stack([np.tril(np.full((sublayers, sublayers + 1), 0.25 * i - shift)) for i in range(1, n + 1)])
        tables = {name: frame(name) for name in Numbers._fields}
        tables |= {"sublayers": frame("sublayers", enumerate(kinds, 1)), "connections": matrix_cells(C_0, C)}
        write_numbers(directory / "analysis", Numbers(**tables))
        about = {"run": "", "seed": 0, "checkpoint": "", "suite": "", "sets": [], "documents": None, "max_tokens": None}
        write_manifest(directory / "analysis", Manifest(step=step, **about))
        return Connections(C_0, C, kinds)

    return leave


@pytest.fixture(scope="session")
def whole(sweep, finished, configuration, analysed):
    """A function: a sweep with all that a report can show, its outcomes with their folders below the one given.

    Five rows of Table 1 under three seeds, evaluated ten times on the way. One run failed, one is missing.
    """

    def make(folder, seeds=(0, 1, 2)):
        modes = {
            "OLMo-1B": ("residual=pre_norm",),
            "DHC×1": ("residual=dhc", "residual.n=1"),
            "DHC×2 W/O tanh": ("residual=dhc", "residual.n=2", "residual.tanh=false"),
            "DHC×2": ("residual=dhc", "residual.n=2"),
            "DHC×4": ("residual=dhc", "residual.n=4"),
        }
        outcomes = []
        for index, (label, overrides) in enumerate(modes.items()):
            config = configuration(*overrides, "steps=1000")
            for seed in seeds:
                outcomes.append(made(label, index, seed, config, folder))
                if index and seed == seeds[0]:
                    analysed(outcomes[-1].directory, n=max(index - 1, 1), shift=0.1 * index, step=1000)
        if len(seeds) > 1:
            at = 2 * len(seeds) - 1
            broken = {"state": "failed", "error": "loss is nan at step 40: try a lower optimizer.lr"}
            outcomes[at] = replace(outcomes[at], metrics={}, curve={}, result={}, **broken)
            del outcomes[at + len(seeds)]
        return sweep(labels=tuple(modes), seeds=seeds, title="Ablation on the expansion rate n"), outcomes

    def made(label, index, seed, config, folder):
        gain = (0.0, -0.01, 0.03, 0.035, 0.05)[index]

        def loss(step, noise):
            return 3.0 + 4.0 * (step + 20) ** -0.3 - gain + 0.01 * seed + noise * math.sin(7 * step + 3 * seed + index)

        tasks = {"drama": 0.3, "novel": 0.0, "speeches": -0.3, "mean": 0.0}
        curves = {"train/loss_ema99": [(step, loss(step, 0.004)) for step in range(10, 1001, 10)]}
        for name, more in tasks.items():
            curves[f"corpus/{name}/loss"] = [(step, more + loss(step, 0.002)) for step in range(100, 1001, 100)]
        ends = {name: curve[-1][1] for name, curve in curves.items() if not name.startswith("train")}
        ends |= {name.replace("/loss", "/perplexity"): math.exp(value) for name, value in ends.items()}
        ends |= {
            "perf/tokens_per_second": 50_000 / (1 + 0.1 * index),
            "perf/peak_memory_bytes": 1e9 * (1 + 0.2 * index),
            "perf/train_seconds": 100 * (1 + 0.1 * index + 0.01 * seed),
            "train/spikes": index % 2,
            "train/spike_score": 0.001 * (index % 2),
            "downstream/mean/accuracy": 0.4 + 0.01 * index + 0.002 * seed,
        }
        run = finished(
            label,
            seed,
            ends["corpus/mean/loss"],
            metrics=ends,
            curves=curves,
            config=config,
            steps=1000,
            tokens=1_024_000,
        )
        return replace(run, directory=folder / f"{index}-{seed}")

    return make


@pytest.fixture(scope="session")
def whole_report(whole, tmp_path_factory):
    """The report of `whole`."""
    return build(*whole(tmp_path_factory.mktemp("whole")), "tiny")


@pytest.fixture(scope="session")
def whole_page(whole_report):
    """Its page, drawn once."""
    return html(whole_report)
