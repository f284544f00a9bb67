"""What is true of every benchmark: how it goes through its parts, and how the model stands meanwhile."""

import pytest
import torch
from torch import nn

from hcexp.evaluation import Benchmark, Meter


class Counted(Meter):
    def __init__(self, part):
        super().__init__()
        self.part = part
        self.add_state("rows", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, model, batch):
        self.rows += len(batch["x"])
        model(batch["x"])

    def compute(self):
        return {"rows": float(self.rows), "name": float(len(self.part))}


class Rows(Benchmark):
    """A benchmark of another task: batches are mappings."""

    name, parts, fingerprint = "rows", ("a", "bb"), "x"

    def fingerprint_of(self, part):
        return part

    def prepare(self, data, cache):
        """Everything is here."""

    def loader(self, part, rank=0, world_size=1):
        return [{"x": torch.zeros(len(part), 3)}, {"x": torch.zeros(4, 3)}][rank::world_size]

    def meter(self, part):
        return Counted(part)

    def metrics(self, scored):
        return {f"rows/{part}": scored[part]["rows"] for part in self.parts}


class Network(nn.Module):
    def __init__(self, error=None):
        super().__init__()
        self.inner, self.error, self.seen = nn.Linear(3, 1), error, []

    def forward(self, x):
        self.seen.append((torch.is_grad_enabled(), self.training, len(x)))
        if self.error:
            raise self.error
        return self.inner(x)


def test_a_part_is_scored_by_its_loader_and_its_meter():
    rows, model, watched = Rows(), Network(), []
    scored = {part: rows.score(model, part, watch=lambda of: watched.append(of) or of) for part in rows.parts}
    assert rows.metrics(scored) == {"rows/a": 5, "rows/bb": 6} and [len(of) for of in watched] == [2, 2]
    assert [meter.part for meter in rows.meters()] == ["a", "bb"]
    assert [[len(batch["x"]) for batch in loader] for loader in rows.loaders(1, 2)] == [[4], [4]]
    assert (rows.every, rows.headline) == (None, None)


@pytest.mark.parametrize("error", [None, RuntimeError("out of memory")])
def test_the_model_is_left_as_it_was(error):
    model = Network(error).train()
    model.inner.eval()
    before = torch.get_rng_state()
    try:
        Rows().score(model, "a")
    except RuntimeError as raised:
        assert raised is error
    assert all(seen[:2] == (False, False) for seen in model.seen) and model.seen
    assert [module.training for module in model.modules()] == [True, False]
    assert torch.equal(torch.get_rng_state(), before) and model.inner.weight.grad is None
    assert torch.is_grad_enabled()


def test_what_no_part_answers_is_no_benchmark():
    with pytest.raises(TypeError, match="abstract"):
        type("Empty", (Benchmark,), {"name": "empty"})()
