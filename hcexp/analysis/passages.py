"""What passes the connections of a model on real tokens, whatever its residual mode."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual import Coefficients
from hcexp.residual.stream import State


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


class Passage(NamedTuple):
    """One sublayer and its connection in a forward pass: the state before and after, what the sublayer was given and
    gave, (batch, seq, d), and the mode's coefficients.
    """

    before: State
    input: Tensor
    output: Tensor
    coefficients: Coefficients
    after: State


Call = Callable[[nn.Module, Any], Any]


def run(model: nn.Module, batch: Any) -> Any:
    """Runs the model on a batch alone."""
    return model(batch)


@torch.no_grad()
def watch(model: nn.Module, forward: Callable[[], Any], seen: Callable[[Passage], None]) -> None:
    """Call `forward`, which runs a model with a residual `stream`, eagerly even if it is compiled, and `seen` after
    each connection. Nothing of a passage is kept here: at the paper's sizes they are gigabytes a sequence.
    """
    open_: list[Any] = []  # of the connection that is running: its state, then its sublayer's input and output

    def before(connection: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        state, sublayer, *context = arguments
        open_[:] = [state]

        def watched(x: Tensor, *context: Any) -> Tensor:
            output = sublayer(x, *context)
            open_.extend((x, output))
            return output

        return state, watched, *context

    def after(connection: nn.Module, arguments: tuple[Any, ...], state: State) -> None:
        earlier, x, output = open_
        seen(Passage(earlier, x, output, connection.coefficients(earlier, output), state))

    with ExitStack() as hooks, torch.compiler.set_stance("force_eager"):
        for connection in model.stream.connections:
            hooks.callback(connection.register_forward_pre_hook(before).remove)
            hooks.callback(connection.register_forward_hook(after).remove)
        forward()


def trace(model: nn.Module, tokens: Tensor) -> Trace:
    """Everything that passes the model's connections on tokens of shape (batch, seq); see `watch`."""
    passages: list[Passage] = []
    embeddings: list[Tensor] = []
    hook = model.embedding.register_forward_hook(lambda module, arguments, h: embeddings.append(h))
    try:
        watch(model, lambda: model(tokens), passages.append)
    finally:
        hook.remove()
    befores, inputs, outputs, coefficients, afters = (list(part) for part in zip(*passages, strict=True))
    return Trace(embeddings[0], [*befores, afters[-1]], inputs, outputs, coefficients)
