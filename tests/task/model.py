"""A network of the second task: vectors in, classes out, with a residual stream between."""

from torch import nn

from hcexp.model import FeedForward, Transformer
from hcexp.model.attention import Attention
from hcexp.model.block import Block
from hcexp.model.init import Initial
from hcexp.model.norm import norm_factory
from hcexp.model.rope import rotary_angles


class Classifier(Transformer):
    """Logits, (batch, classes), of a vector, (batch, features), that is cut into `parts` hidden vectors."""

    def __init__(self, residual, *, d, layers, heads, inner, features, parts, classes, activation_checkpointing=False):
        super().__init__(residual, d, Block.KINDS * layers, norm_factory("layer_norm", affine=False, eps=1e-5))
        self.parts, self.head_dim = parts, d // heads
        self.embed = nn.Linear(features // parts, self.stream.embedding_dim, bias=False)
        self.head = nn.Linear(self.stream.output_dim, classes, bias=False)
        self.blocks = nn.ModuleList(
            Block(Attention(d, heads), FeedForward(d, inner), activation_checkpointing=activation_checkpointing)
            for _ in range(layers)
        )

    def ends(self):
        yield Initial(self.embed.weight, self.embed.in_features)
        yield Initial(self.head.weight, self.head.in_features)

    def forward(self, vectors):
        rotary = rotary_angles(self.parts, self.head_dim, 10000.0, vectors.device)
        return self.head(self.carry(self.embed(vectors.unflatten(-1, (self.parts, -1))), rotary).mean(dim=-2))
