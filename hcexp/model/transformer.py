"""The trunk that every network has: blocks of sublayers, carried by a residual stream.

Language models, and whatever else embeds and reads out in its own way, are its heirs.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard

from hcexp.model.init import SCHEMES, Initial, initialise
from hcexp.residual import NormFactory, ResidualStream

RECOMPILE_LIMIT = 64


class Transformer(nn.Module):
    """A residual stream around the sublayers of blocks. An heir sets `blocks`, after its own embedding.

    Args:
        residual: makes the residual stream from (d, kinds of the sublayers, norm factory).
        d: width of the hidden vectors.
        kinds: of the sublayers of all blocks, in order.
        norm_of: makes the norms.
        init: "mitchell" or "normal"; see `hcexp.model.init`.

    Raises ValueError, naming the knob, for an unknown `init`, and for a stream without a connection for each sublayer.
    """

    blocks: nn.ModuleList

    def __init__(
        self,
        residual: Callable[..., ResidualStream],
        d: int,
        kinds: Sequence[str],
        norm_of: NormFactory,
        *,
        init: str = "mitchell",
    ):
        super().__init__()
        if init not in SCHEMES:
            raise ValueError(f"model.init={init} is not an initialisation: choose from {sorted(SCHEMES)}")
        self.stream = residual(d, tuple(kinds), norm_of)
        connections = getattr(self.stream, "connections", None)
        if not isinstance(connections, nn.ModuleList) or len(connections) != len(self.stream.kinds):
            raise ValueError(
                f"{type(self.stream).__name__}.connections must be an nn.ModuleList with one connection for each of "
                f"the {len(self.stream.kinds)} sublayers"
            )
        self.init = init
        self.initial: Callable[[Transformer], None] | None = None  # puts loaded weights in the place of drawn ones

    def carry(self, h: Tensor, *context: Tensor | tuple[Tensor, ...]) -> Tensor:
        """Take embedded vectors, (batch, seq, `stream.embedding_dim`), through all blocks to (batch, seq,
        `stream.output_dim`), the final norm included; sublayers are given `context` as it is.
        """
        state = self.stream.expand(h)
        connections = iter(self.stream.connections)
        for block in self.blocks:
            state = block(state, tuple(next(connections) for _ in block.KINDS), *context)
        return self.stream.reduce(state)

    def ends(self) -> Iterable[Initial]:
        """The initial weights of what embeds and what reads out."""
        raise NotImplementedError

    def reset_parameters(self, seed: int) -> None:
        """Draw every weight anew from (seed, its name): with one seed all residual modes share their backbone.

        Weights to start from, if `initial` has any, come in their place as they are: no init factor of the residual
        mode applies to them.
        """
        initialise(self, seed)
        if self.initial is not None:
            self.initial(self)

    def compile_blocks(self) -> None:
        """Compile in place, so that parameter names stay: block by block, where one compilation serves all blocks of
        one form, or, if the stream asks for it, the network as a whole.
        """
        # A mode may have several forms, AltUp one for each active stream, and after torch's 8 the rest runs eagerly.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, RECOMPILE_LIMIT)
        for module in [self] if self.stream.compiled_as == "network" else self.blocks:
            module.compile()

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
