"""Connection matrices of a model on real tokens, whatever its residual mode."""

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual import Coefficients
from hcexp.residual.stream import State
from hcexp.residual.unfolding import Unfolded, unfold


class Trace(NamedTuple):
    """What one forward pass did, sublayer by sublayer.

    embedding: (batch, seq, embedding_dim).
    states: the residual state before each sublayer, and the last one.
    inputs, outputs: what each sublayer was given and gave, (batch, seq, d).
    coefficients: the mode's, for each sublayer.
    """

    embedding: Tensor
    states: list[State]
    inputs: list[Tensor]
    outputs: list[Tensor]
    coefficients: list[Coefficients]


@torch.no_grad()
def trace(model: nn.Module, tokens: Tensor, *, coefficients_alone: bool = False) -> Trace:
    """Run the model, compiled or not, eagerly on tokens of shape (batch, seq), and keep what passes its connections.

    The model has an `embedding` and a residual `stream`. With `coefficients_alone` only the last of the states,
    inputs and outputs is kept, which at the paper's sizes are gigabytes a sequence.
    """
    embeddings: list[Tensor] = []
    kept = Trace(torch.empty(0), [], [], [], [])

    def before(connection: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        state, sublayer, *context = arguments
        if coefficients_alone:
            for passed in (kept.states, kept.inputs, kept.outputs):
                passed.clear()
        kept.states.append(state)

        def watched(x: Tensor, *context: Any) -> Tensor:
            kept.inputs.append(x)
            kept.outputs.append(sublayer(x, *context))
            return kept.outputs[-1]

        return state, watched, *context

    def after(connection: nn.Module, arguments: tuple[Any, ...], state: State) -> None:
        kept.coefficients.append(connection.coefficients(kept.states[-1], kept.outputs[-1]))
        if len(kept.coefficients) == len(model.stream.connections):
            kept.states.append(state)

    with ExitStack() as hooks, torch.compiler.set_stance("force_eager"):
        keep_embedding = model.embedding.register_forward_hook(lambda module, arguments, h: embeddings.append(h))
        hooks.callback(keep_embedding.remove)
        for connection in model.stream.connections:
            hooks.callback(connection.register_forward_pre_hook(before).remove)
            hooks.callback(connection.register_forward_hook(after).remove)
        model(tokens)
    return kept._replace(embedding=embeddings[0])


def connection_matrices(model: nn.Module, batches: Iterable[Tensor]) -> Unfolded:
    """C^(0) and C^(i) of the model's residual mode (Eqs. 20, 27, 29), averaged over all tokens of `batches`, float64.

    Args:
        model: a network with an `embedding` and a residual `stream`.
        batches: tokens of shape (batch, seq), batches of any sizes; sequences are taken one by one.

    Raises ValueError for no tokens at all, and what the mode's `coefficients` raise.
    """
    total, count = (0.0, 0.0), 0
    for tokens in (sequence for batch in batches for sequence in batch.split(1) if sequence.numel()):
        kept = trace(model, tokens, coefficients_alone=True)
        stream = model.stream
        unfolded = unfold(stream.expand_weights(), kept.coefficients, stream.reduce_weights(kept.states[-1]))
        # A mode whose coefficients are the same for every token has matrices without token axes.
        means = (_mean(C.double(), axes) for C, axes in zip(unfolded, (2, 3), strict=True))
        total = tuple(a + mean * tokens.numel() for a, mean in zip(total, means, strict=True))
        count += tokens.numel()
    if not count:
        raise ValueError("no tokens: connection matrices are averages over at least one")
    return Unfolded(*(C / count for C in total))


def _mean(C: Tensor, axes: int) -> Tensor:
    """Over all but the last `axes` axes."""
    return C.flatten(0, -axes - 1).mean(dim=0) if C.dim() > axes else C
