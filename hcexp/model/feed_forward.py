"""The SwiGLU feed-forward network (Shazeer, 2020) without bias."""

from torch import Tensor, nn
from torch.nn.functional import silu


class FeedForward(nn.Module):
    """`out(silu(gate x) · up x)` with gate and up of width `inner`, held in one matrix."""

    def __init__(self, d: int, inner: int):
        super().__init__()
        if inner < 1:
            raise ValueError(f"model.inner={inner} is the feed-forward width: it must be 1 or more")
        self.gate_up = nn.Linear(d, 2 * inner, bias=False)
        self.out = nn.Linear(inner, d, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, seq, d) to (batch, seq, d)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.out(silu(gate) * up)
