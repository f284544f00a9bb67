"""What is true of every benchmark: how the model stands while it is scored, and that processes share a part."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing import start_processes

from hcexp.evaluation import Downstream, PerplexitySuite
from tests.task.evaluation import HeldOut


class Network(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.inner, self.error, self.seen = nn.Linear(3, 2), error, []

    def forward(self, x):
        self.seen.append((torch.is_grad_enabled(), self.training))
        if self.error:
            raise self.error
        return self.inner(x)


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory")])
def test_the_model_is_left_as_it_was(error):
    model, held_out, watched = Network(error).train(), HeldOut(count=6, batch_size=4), []
    held_out.prepare(SimpleNamespace(features=3, classes=2), None)
    model.inner.eval()
    try:
        assert 0 <= held_out.score(model, "near", watch=lambda of: watched.append(of) or of)["top1"] <= 1
        assert len(model.seen) == 2
    except RuntimeError as raised:
        assert raised is error
    assert set(model.seen) == {(False, False)} and len(watched) == 1
    assert [module.training for module in model.modules()] == [True, False]
    assert model.inner.weight.grad is None and torch.is_grad_enabled()


@torch.no_grad()
def _share(rank, benchmarks, model, folder):
    init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = []
    for benchmark in benchmarks:
        for loader, meter in zip(benchmark.loaders(rank, 2), benchmark.meters(), strict=True):
            for batch in loader:
                meter.update(model, batch)
            found.append(meter.results())
    (folder / f"{rank}.json").write_text(json.dumps(found))
    destroy_process_group()


def test_two_processes_score_like_one(texts, data, model, tmp_path):
    """Their last batches are uneven."""
    tasks = Downstream(["copa", "mrpc"], documents=70, batch_size=1)
    suite = PerplexitySuite("local", files=texts / "held.txt", max_tokens=900, batch_size=1)
    for benchmark in (tasks, suite):
        benchmark.prepare(data(256), texts / "cache")
    assert len(tasks.loader("copa").batches) % 2
    assert [meter.varying_shapes for meter in (*tasks.meters(), *suite.meters())] == [True, True, False]
    start_processes(_share, ((tasks, suite), model, tmp_path), nprocs=2, start_method="fork")
    alone = [pytest.approx(one.score(model, part)) for one in (tasks, suite) for part in one.parts]
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone
