from functools import cache

import pytest
import torch

from hcexp.configuration import build_model, compose
from hcexp.cost.traffic import Traffic, count_traffic

SIZES = ("model.d=64", "model.layers=2", "model.heads=4", "model.inner=80", "model.vocabulary_size=300")


@cache
def traffic(*overrides, dtype=torch.float32, mixed=False, length=32):
    model = build_model(compose([*SIZES, *overrides]))
    return count_traffic(model, length, dtype=dtype, mixed=mixed)


def bytes_of(function):
    with Traffic() as counted:
        function()
    return counted.bytes


x = torch.ones(10, 100)


@pytest.mark.parametrize(
    ("function", "floats"),
    [
        (lambda: x + x, 3000),  # reads both, writes one
        (lambda: x.exp(), 2000),
        (lambda: x.sum(), 1001),
        (lambda: x.view(100, 10).transpose(0, 1).expand(3, 10, 100), 0),
        (lambda: torch.empty(1000), 0),
        (lambda: x[:1].expand(10, 100).exp(), 100 + 100 + 1000 - 100),  # what is expanded lies there once
        (lambda: x @ x.T, 2 * 1000 + 100),
    ],
)
def test_operations_read_and_write_and_views_do_not(function, floats):
    assert bytes_of(function) <= 4 * (floats + 900)  # x[:1] shares the storage of x
    assert bytes_of(function) >= 4 * floats


def test_a_token_takes_as_much_in_a_long_sequence():
    assert traffic("residual=altup", length=64) == pytest.approx(traffic("residual=altup"), rel=0.02)


def test_more_streams_move_more():
    shc = [traffic("residual=shc", f"residual.n={n}") for n in (1, 2, 4)]
    dhc = traffic("residual=dhc", "residual.n=4")
    assert traffic("residual=pre_norm") < shc[0] < shc[1] < shc[2] < dhc
    # Of n streams each is read and written at least once a sublayer, forward and backward.
    assert shc[2] - shc[1] >= 4 * 2 * 2 * 2 * 64 * 4


def test_half_the_precision_moves_half_as_much():
    assert traffic(dtype=torch.bfloat16) == pytest.approx(traffic() / 2, rel=0.05)
