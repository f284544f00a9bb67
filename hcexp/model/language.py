"""The OLMo language model (Groeneveld et al., 2024), with the residual connections left open."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import linear

from hcexp.model.attention import Attention
from hcexp.model.block import Block
from hcexp.model.feed_forward import FeedForward
from hcexp.model.init import SCHEMES, initialise
from hcexp.model.norm import norm_factory
from hcexp.model.rope import rotary_angles
from hcexp.residual import ResidualStream

RECOMPILE_LIMIT = 64


class LanguageModel(nn.Module):
    """A decoder-only transformer: embedding, `layers` blocks carried by a residual stream, unembedding.

    Args:
        residual: makes the residual stream from (d, kinds of the sublayers, norm factory).
        d: width of the hidden vectors.
        layers: blocks, each an attention and a feed-forward sublayer.
        heads: attention heads.
        inner: width inside the SwiGLU feed-forward.
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
        super().__init__()
        sizes = {"d": d, "layers": layers, "vocabulary_size": vocabulary_size, "pad_vocabulary_to": pad_vocabulary_to}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"model.{name}={size} must be 1 or more")
        for name, value in {"norm_eps": norm_eps, "rope_theta": rope_theta}.items():
            if not value > 0:
                raise ValueError(f"model.{name}={value} must be greater than 0")
        if init not in SCHEMES:
            raise ValueError(f"model.init={init} is not an initialisation: choose from {sorted(SCHEMES)}")
        norm_of = norm_factory(norm, affine=norm_affine, eps=norm_eps)
        self.stream = residual(d, Block.KINDS * layers, norm_of)
        connections = getattr(self.stream, "connections", None)
        if not isinstance(connections, nn.ModuleList) or len(connections) != len(self.stream.kinds):
            raise ValueError(
                f"{type(self.stream).__name__}.connections must be an nn.ModuleList with one connection for each of "
                f"the {len(self.stream.kinds)} sublayers"
            )
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
                FeedForward(d, inner),
                activation_checkpointing=activation_checkpointing,
            )
            for _ in range(layers)
        )
        self.head_dim = d // heads
        self.rope_theta = rope_theta
        self.init = init
        self.initial: Callable[[LanguageModel], None] | None = None  # puts loaded weights in the place of drawn ones

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits, (batch, seq, padded vocabulary), of the token after each of `tokens`, (batch, seq)."""
        rotary = rotary_angles(tokens.shape[-1], self.head_dim, self.rope_theta, tokens.device)
        state = self.stream.expand(self.embedding(tokens))
        connections = iter(self.stream.connections)
        for block in self.blocks:
            state = block(state, (next(connections), next(connections)), rotary)
        h = self.stream.reduce(state)
        return linear(h, self.embedding.weight if self.unembedding is None else self.unembedding.weight)

    def reset_parameters(self, seed: int) -> None:
        """Draw every weight anew from (seed, its name): with one seed all residual modes share their backbone.

        Weights to start from, if `initial` has any, come in their place as they are: no init factor of the residual
        mode applies to them.
        """
        initialise(self, seed)
        if self.initial is not None:
            self.initial(self)

    def compile_blocks(self) -> None:
        """Compile in place, so that parameter names stay; one compilation serves all blocks of one form."""
        # A mode may have several forms, AltUp one for each active stream, and after torch's 8 the rest runs eagerly.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
        for block in self.blocks:
            block.compile()

    def shard(self, mesh: DeviceMesh) -> None:
        """Distribute the parameters over a mesh of data-parallel processes, each along its first axis (FSDP2).

        The weights of a block are put together while it works; those outside of blocks, of the residual stream among
        them, stay together from the forward pass to the end of the backward pass.

        Raises ValueError for a parameter without an axis.
        """
        if without := [name for name, parameter in self.named_parameters() if not parameter.dim()]:
            raise ValueError(
                f"trainer=fsdp: the parameter {without[0]} is a single number and has no axis to be cut along: "
                "let its mode make it a vector of one, or use trainer=ddp"
            )
        for module in (*self.blocks, self):
            fully_shard(module, mesh=mesh)


def _qk_norms(norm_of: Callable[..., nn.Module], d: int) -> tuple[nn.Module, nn.Module]:
    return norm_of(d, elementwise_affine=True), norm_of(d, elementwise_affine=True)
