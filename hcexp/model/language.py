"""The OLMo language model (Groeneveld et al., 2024), with the residual connections left open."""

from collections.abc import Callable, Iterator

from torch import Tensor, nn
from torch.nn.functional import linear

from hcexp.model.attention import Attention, Past
from hcexp.model.block import Block
from hcexp.model.feed_forward import FeedForward
from hcexp.model.init import Initial
from hcexp.model.norm import norm_factory
from hcexp.model.rope import rotary_angles
from hcexp.model.transformer import Transformer
from hcexp.residual import ResidualStream

# What sizes may be: far above any published model's, and below what overflows.
MOST = {"d": 1 << 20, "layers": 1 << 14, "vocabulary_size": 1 << 24, "pad_vocabulary_to": 1 << 24}


class LanguageModel(Transformer):
    """A decoder-only transformer: embedding, `layers` blocks carried by a residual stream, unembedding.

    Args:
        residual: makes the residual stream from (d, kinds of the sublayers, norm factory).
        d: width of the hidden vectors.
        layers: blocks, each an attention and a feed-forward sublayer.
        heads: attention heads.
        inner: width inside the feed-forward.
        feed_forward: makes a feed-forward sublayer from (d, inner).
        vocabulary_size: how many token ids there are.
        pad_vocabulary_to: the embedding's rows are padded up to a multiple of this, as OLMo does (50280 to 50304).
        tied: the unembedding is the embedding.
        norm, norm_affine, norm_eps: "layer_norm" or "rms_norm", with weights or without, and its ε.
        qk_norm: norm queries and keys, with weights (OLMoE).
        rope_theta: base of the rotary angles.
        init: "mitchell" or "normal"; see `hcexp.model.init`.
        activation_checkpointing: make the activations within a block a second time in the backward pass instead of
            keeping them; the result is the same.

    Raises ValueError, naming the knob, for sizes that do not fit together.
    """

    def __init__(
        self,
        residual: Callable[..., ResidualStream],
        *,
        d: int,
        layers: int,
        heads: int,
        inner: int,
        vocabulary_size: int,
        feed_forward: Callable[[int, int], nn.Module] = FeedForward,
        pad_vocabulary_to: int = 128,
        tied: bool = True,
        norm: str = "layer_norm",
        norm_affine: bool = False,
        norm_eps: float = 1e-5,
        qk_norm: bool = False,
        rope_theta: float = 10000.0,
        init: str = "mitchell",
        activation_checkpointing: bool = False,
    ):
        for (name, most), size in zip(MOST.items(), (d, layers, vocabulary_size, pad_vocabulary_to), strict=True):
            if not 1 <= size <= most:
                raise ValueError(f"model.{name}={size} must be 1 or more, and at most {most}")
        for name, value in {"norm_eps": norm_eps, "rope_theta": rope_theta}.items():
            if not value > 0:
                raise ValueError(f"model.{name}={value} must be greater than 0")
        norm_of = norm_factory(norm, affine=norm_affine, eps=norm_eps)
        super().__init__(residual, d, Block.KINDS * layers, norm_of, init=init)
        if tied and self.stream.embedding_dim != self.stream.output_dim:
            raise ValueError(
                f"model.tied=true needs one width for both ends, but this residual mode embeds in "
                f"{self.stream.embedding_dim} and ends in {self.stream.output_dim}: set model.tied=false"
            )
        self.vocabulary_size = vocabulary_size
        rows = -(-vocabulary_size // pad_vocabulary_to) * pad_vocabulary_to
        self.embedding = nn.Embedding(rows, self.stream.embedding_dim)
        self.unembedding = None if tied else nn.Linear(self.stream.output_dim, rows, bias=False)
        self.blocks = nn.ModuleList(
            Block(
                Attention(d, heads, qk_norm=_qk_norms(norm_of, d) if qk_norm else None),
                feed_forward(d, inner),
                activation_checkpointing=activation_checkpointing,
            )
            for _ in range(layers)
        )
        self.head_dim = d // heads
        self.rope_theta = rope_theta

    def forward(self, tokens: Tensor, past: Past | None = None, seen: int = 0) -> Tensor:
        """Logits, (batch, seq, padded vocabulary), of the token after each of `tokens`, (batch, seq).

        `past`, called once by each layer in order, has the keys and values of `seen` tokens before these.
        """
        cos, sin = rotary_angles(seen + tokens.shape[-1], self.head_dim, self.rope_theta, tokens.device)
        h = self.carry(self.embedding(tokens), (cos[seen:], sin[seen:]), *([] if past is None else [past]))
        return linear(h, self.embedding.weight if self.unembedding is None else self.unembedding.weight)

    def ends(self) -> Iterator[Initial]:
        """The embedding, and the unembedding if it has weights of its own."""
        yield Initial(self.embedding.weight, self.stream.d)
        if self.unembedding is not None:
            yield Initial(self.unembedding.weight, self.stream.d)


def _qk_norms(norm_of: Callable[..., nn.Module], d: int) -> tuple[nn.Module, nn.Module]:
    return norm_of(d, elementwise_affine=True), norm_of(d, elementwise_affine=True)
