from functools import partial

import pytest
import torch

from hcexp.cost.memory import activation_bytes, peak_bytes

OLMO_1B = {"d": 2048, "layers": 16, "heads": 16, "sequence_length": 2048, "batch": 8}


def test_the_plain_transformer_is_the_sum_of_its_blocks():
    # Korthikanti et al. (2022), Section 4.1: 11 sbh + 5 as²b in attention, 19 sbh in the feed-forward, 4 sbh in norms.
    s, b, h, a = 2048, 8, 2048, 16
    block = (11 * s * b * h + 5 * a * s * s * b) + 19 * s * b * h + 4 * s * b * h
    assert activation_bytes(**OLMO_1B) == 16 * block == 61_203_283_968


def test_streams_add_two_bytes_a_number_twice_a_block():
    plain = activation_bytes(**OLMO_1B)
    assert activation_bytes(**OLMO_1B, expansion_rate=None) == plain
    for n in (1, 4):
        streams = n * 2048 * 8 * 2048  # numbers of all n streams
        assert activation_bytes(**OLMO_1B, expansion_rate=n) - plain == 2 * streams * 16


MEGA = 1_000_000  # numbers, 4 bytes each


def use(count):
    return torch.empty(count * MEGA)


def test_the_peak_is_that_of_what_lives_at_a_time():
    def step():
        a = use(1)
        b = use(2)
        del a
        c = use(3)  # with b: 5
        del b
        d = use(1)  # with c: 4
        return c, d

    assert peak_bytes(step, torch.device("cpu")) == 5 * 4 * MEGA


def test_what_is_there_before_does_not_count():
    before = use(4)
    assert peak_bytes(lambda: use(1) + before[:MEGA], torch.device("cpu")) == 2 * 4 * MEGA


def test_the_peak_of_a_backward_pass_counts_what_autograd_keeps():
    weight = torch.ones(MEGA, requires_grad=True)

    def step(*more):
        hidden = (weight * 2).exp()
        for function in more:
            hidden = function(hidden)
        hidden.sum().backward()
        weight.grad = None

    small, large = (peak_bytes(s, torch.device("cpu")) for s in (step, partial(step, torch.exp)))
    # exp keeps its output; beside it lie the gradient that comes and the one that goes.
    assert large - small == pytest.approx(4 * MEGA, rel=0.01)
