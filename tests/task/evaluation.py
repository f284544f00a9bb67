"""Held-out vectors, near to the centres and far from them."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from hcexp.disk.checksum import checksum
from hcexp.evaluation.benchmark import Benchmark
from hcexp.evaluation.meter import Meter
from tests.task.data import centres
from tests.task.objective import Classification

NOISE = {"near": 0.5, "far": 2.0}


class Top1(Meter):
    """The mean loss, and the share of vectors whose class is the most probable one."""

    full_state_update = False

    def __init__(self):
        super().__init__()
        for name in ("nats", "right", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, model, batch):
        losses, count = Classification()(model, batch), len(batch[1])
        self.nats += losses.minimised.double() * count
        self.right += losses.reported["right"].double() * count
        self.count += count

    def compute(self):
        return self.right / self.count

    def results(self):
        return {"loss": (self.nats / self.count).item(), "top1": self.compute().item()}


class HeldOut(Benchmark):
    """`count` vectors of each part."""

    parts = tuple(NOISE)
    headline = "vectors/mean/loss"
    name = "vectors"

    def __init__(self, *, count, batch_size, every=None):
        self.count, self.batch_size, self.every = count, batch_size, every

    @property
    def fingerprint(self):
        return checksum(self.name, self.count)

    def fingerprint_of(self, part):
        return checksum(part, self.count)

    def prepare(self, data, cache):
        self.data = data

    def loader(self, part, rank=0, world_size=1):
        labels = torch.arange(self.count) % self.data.classes
        noise = torch.randn(self.count, self.data.features, generator=torch.Generator().manual_seed(len(part)))
        vectors = centres(self.data.features, self.data.classes)[labels] + NOISE[part] * noise
        share = slice(rank, None, world_size)
        return DataLoader(TensorDataset(vectors[share], labels[share]), batch_size=self.batch_size)

    def meter(self, part):
        return Top1()

    def metrics(self, scored):
        found = {f"{self.name}/{part}/{key}": value for part in self.parts for key, value in scored[part].items()}
        for key in ("loss", "top1"):
            found[f"{self.name}/mean/{key}"] = sum(scored[part][key] for part in self.parts) / len(self.parts)
        return found
