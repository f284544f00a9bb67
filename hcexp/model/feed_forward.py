"""The SwiGLU feed-forward network (Shazeer, 2020) without bias."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import silu

from hcexp.model.init import Initial

MOST_INNER = 1 << 22  # far above any published model's


class FeedForward(nn.Module):
    """`out(silu(gate x) · up x)` with gate and up of width `inner`, held in one matrix."""

    def __init__(self, d: int, inner: int):
        super().__init__()
        if not 1 <= inner <= MOST_INNER:
            raise ValueError(f"model.inner={inner} must be 1 or more, and at most {MOST_INNER}")
        self.gate_up = nn.Linear(d, 2 * inner, bias=False)
        self.out = nn.Linear(inner, d, bias=False)

    def initial(self) -> Iterator[Initial]:
        """How its weights are drawn."""
        yield Initial(self.gate_up.weight, self.gate_up.in_features)
        yield Initial(self.out.weight, self.out.in_features, writes=True)

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """(batch, seq, d) to (batch, seq, d), whatever the context."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.out(silu(gate) * up)
