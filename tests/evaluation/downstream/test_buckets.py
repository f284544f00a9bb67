import numpy as np
import pytest
import torch

from hcexp.evaluation.downstream.buckets import PADDING, Buckets
from hcexp.evaluation.downstream.task import Request, Task

PAD = 9


@pytest.fixture(scope="module")
def task():
    """Documents of 2 to 4 continuations, of many lengths; some continuations share their text."""
    draw = np.random.default_rng(0)
    requests, tokens = [], torch.zeros(60, 4, dtype=torch.int64)
    for document in range(60):
        context = draw.integers(0, 9, draw.integers(1, 60))
        for continuation in range(draw.integers(2, 5)):
            scored = draw.integers(0, 9, 1 if document % 3 else draw.integers(1, 9))
            read = np.append(context, scored[:-1]).astype(np.uint32)
            requests.append(Request(document, continuation, read, scored.astype(np.uint32)))
            tokens[document, continuation] = len(scored)
    return Task("test", "acc", tuple(requests), torch.zeros(60, dtype=torch.int64), tokens, tokens, tokens, tokens > 0)


def seen(batches) -> list[tuple[int, tuple, tuple]]:
    """(cell, what precedes the scored token, the scored token), in order."""
    return sorted(
        (cell, tuple(batch.inputs[row, : position + 1].tolist()), target)
        for batch in batches
        for row, position, target, cell in zip(*(column.tolist() for column in batch[1:]), strict=True)
    )


def asked(task) -> list[tuple[int, tuple, tuple]]:
    return sorted(
        (request.document * 4 + request.continuation, tuple(text[: len(text) - len(request.scored) + i]), int(token))
        for request in task.requests
        for text in [[*request.tokens.tolist(), int(request.scored[-1])]]
        for i, token in enumerate(request.scored)
    )


@pytest.mark.parametrize(("tokens", "world_size"), [(1, 1), (1, 50), (250, 3), (4096, 50)])
def test_every_token_is_scored_once_in_the_same_batches_however_many_share_them(task, tokens, world_size):
    alone = list(Buckets(task, tokens, PAD))
    shares = [list(Buckets(task, tokens, PAD, rank, world_size)) for rank in range(world_size)]
    assert seen(batch for share in shares for batch in share) == asked(task)
    # Sharded models wait for each other in every forward pass.
    assert {len(share) for share in shares} == {len(Buckets(task, tokens, PAD, 0, world_size))}
    for i, batch in enumerate(alone):
        same = shares[i % world_size][i // world_size]
        assert all(torch.equal(one, other) for one, other in zip(batch, same, strict=True))
    if len(alone) % world_size:
        idle = shares[-1][-1]
        assert idle.inputs.tolist() == [[PAD]] and all(len(column) == 0 for column in idle[1:])


def test_batches_keep_to_their_size_hardly_pad_and_share_contexts(task):
    single = sum(document % 3 > 0 for document in range(60))  # the continuations have one token, and one context
    several = {(r.document, r.tokens.tobytes()) for r in task.requests if r.document % 3 == 0}
    for tokens in (1, 60, 500, 10**6):
        batches = list(Buckets(task, tokens, PAD))
        for batch in batches:
            assert batch.inputs.numel() <= tokens or len(batch.inputs) == 1
            assert (batch.inputs == PAD).double().mean() <= PADDING
        lengths = [batch.inputs.shape[1] for batch in batches]
        assert lengths == sorted(lengths, reverse=True)
        assert sum(len(batch.inputs) for batch in batches) == single + len(several) < len(task.requests)


def test_arguments_out_of_range(task):
    for arguments in ((0, PAD), (5, PAD, 1, 1), (5, PAD, -1, 2)):
        with pytest.raises(ValueError, match=r"=-?\d: allowed"):
            Buckets(task, *arguments)
