"""A residual mode that reads each channel of its stream by itself: A_m is (…, n, d)."""

import torch
from torch import nn

from hcexp.residual import Coefficients
from hcexp.residual.stream import PreNormed, SingleStream


class GatedConnection(PreNormed):
    """`h + T(norm(g ⊙ h))` with a gate g = 2σ(W h) for every channel."""

    def __init__(self, d, norm):
        super().__init__(d, norm)
        self.gate = nn.Parameter(torch.empty(d, d))

    def read(self, h):
        return 2 * torch.sigmoid(h @ self.gate)

    def forward(self, h, sublayer, *context):
        return h + sublayer(self.norm(self.read(h) * h), *context)

    def coefficients(self, h, output):
        one = torch.ones(1, 1).to(h)
        return Coefficients(one[0], self.read(h).unsqueeze(-2), one)

    def reset_parameters(self):
        nn.init.zeros_(self.gate)


class Gated(SingleStream):
    """Every sublayer reads through its own gate; at initialisation it is pre-norm."""

    def __init__(self, d, kinds, norm):
        super().__init__(d, kinds, norm)
        self.connections = nn.ModuleList(GatedConnection(d, norm) for _ in kinds)
