"""Causal self-attention without bias, as in OLMo."""

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from hcexp.model.init import Initial
from hcexp.model.rope import rotate

# Takes a layer's new keys and values, each (batch, heads, seq, head_dim), and gives those of all tokens so far, with a
# mask of what each query sees, (…, seq, all), or None: the last query sees all.
Past = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor | None]]


class Attention(nn.Module):
    """Multi-head causal attention with rotary positions; queries and keys are normed before the split into heads
    if `qk_norm` is given (OLMoE).

    Raises ValueError unless `heads` divides d into heads of even width.
    """

    def __init__(self, d: int, heads: int, qk_norm: tuple[nn.Module, nn.Module] | None = None):
        super().__init__()
        if d < 2 or d % 2:
            raise ValueError(f"model.d={d} cannot be divided into heads of even width: it must be an even number")
        if heads < 1 or d % heads or (d // heads) % 2:
            raise ValueError(
                f"model.heads={heads} does not divide model.d={d} into heads of even width: "
                f"choose heads from {[h for h in range(1, d // 2 + 1) if d % (2 * h) == 0]}"
            )
        self.heads = heads
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.q_norm, self.k_norm = qk_norm or (nn.Identity(), nn.Identity())

    def initial(self) -> Iterator[Initial]:
        """How its weights are drawn."""
        d = self.out.in_features
        yield Initial(self.qkv.weight, d)
        yield Initial(self.out.weight, d, writes=True)

    def forward(self, x: Tensor, rotary: tuple[Tensor, Tensor], past: Past | None = None) -> Tensor:
        """(batch, seq, d) to (batch, seq, d); `rotary` as `hcexp.model.rope.rotary_angles` gives it."""
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q_norm(q), self.k_norm(k), v))
        q, k = rotate(q, rotary), rotate(k, rotary)
        mask, causal = None, True
        if past is not None:
            k, v, mask = past(k, v)
            causal = mask is None and q.shape == k.shape
        y = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.out(y.transpose(1, 2).flatten(-2))
