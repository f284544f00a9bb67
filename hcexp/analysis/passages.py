"""What passes the connections of a model on real tokens, whatever its residual mode."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hcexp.residual import Coefficients
from hcexp.residual.stream import State


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
