"""The workload of next-token prediction on made-up sequences."""

import torch

from hcexp.cost import Workload
from hcexp.objective import NextToken


def sequences(length, vocabulary=100):
    def example(rows):
        tokens = torch.randint(vocabulary, (rows, length + 1))
        return tokens[:, :-1], tokens[:, 1:]

    return Workload(NextToken(), example)
