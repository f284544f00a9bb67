"""Made-up vectors: each class has a centre, and each sample noise around it."""

import torch

from hcexp.data.data import Data
from hcexp.disk.checksum import checksum


def centres(features, classes):
    return torch.randn(classes, features, generator=torch.Generator().manual_seed(7))


class VectorSamples:
    """Sample i is of class i modulo the number of classes; its noise is drawn from the key that it is asked with."""

    def __init__(self, count, features, classes):
        self.count, self.classes, self.centres = count, classes, centres(features, classes)

    def __len__(self):
        return self.count

    def batch(self, rows, keys):
        noise = [torch.randn(self.centres.shape[1], generator=torch.Generator().manual_seed(key)) for key in keys]
        labels = torch.tensor([row % self.classes for row in rows])
        return self.centres[labels] + torch.stack(noise), labels


class Vectors(Data):
    """`count` samples of `features` numbers in `classes` classes."""

    def __init__(self, *, count, features, classes, batch_size, seed):
        self.count, self.features, self.classes, self.batch_size, self.seed = count, features, classes, batch_size, seed

    @property
    def fingerprint(self):
        return checksum(self.count, self.features, self.classes)

    @property
    def samples(self):
        return VectorSamples(self.count, self.features, self.classes)

    def example(self, rows):
        return torch.randn(rows, self.features), torch.randint(self.classes, (rows,))
