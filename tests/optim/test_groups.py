"""Which parameters decay, and that frozen ones do not move."""

import pytest
import torch

from hcexp.configuration import build_model, compose
from hcexp.optim import AdamW, decay_groups

TINY = ["model.d=32", "model.layers=2", "model.inner=32", "model.norm_affine=true", "model.tied=false"]


def model_of(*overrides):
    model = build_model(compose([*TINY, *overrides])).to_empty(device="cpu")
    model.reset_parameters(0)
    return model


def names(model, group):
    own = {id(p): name for name, p in model.named_parameters()}
    return {own[id(p)] for p in group["params"]}


def test_the_papers_groups():
    model = model_of("residual=dhc", "residual.norm_affine=true")
    decayed, undecayed = (names(model, group) for group in decay_groups(model, 0.1))
    assert [group["weight_decay"] for group in decay_groups(model, 0.1)] == [0.1, 0.0]
    weights = "stream.connections.1.weights."
    assert {weights + "W_alpha", weights + "W_beta", "unembedding.weight", "blocks.0.attention.qkv.weight"} <= decayed
    static = {weights + name for name in ("A", "B", "s_alpha", "s_beta", "norm.weight")}
    assert static | {"embedding.weight", "stream.norm.weight", "stream.connections.0.norm.weight"} <= undecayed
    assert decayed | undecayed == {name for name, _ in model.named_parameters()}
    assert not decayed & undecayed


def test_embeddings_and_norms_decay_if_asked_for():
    model = model_of("residual=shc")
    decayed, undecayed = (
        names(model, group) for group in decay_groups(model, 0.1, decay_embeddings=True, decay_norms=True)
    )
    assert {"embedding.weight", "stream.norm.weight"} <= decayed
    assert undecayed == {f"stream.connections.{k}.weights.{name}" for k in range(4) for name in "AB"}


def test_scales_decay_if_asked_for():
    model = model_of("residual=dhc", "residual.decay_scales=true")
    assert "stream.connections.0.weights.s_alpha" in names(model, decay_groups(model, 0.1)[0])


def moved(*overrides):
    """The parts of the connections' weights that a few real optimiser steps move."""
    model = model_of(*overrides)
    optimizer = AdamW(lr=0.01, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)(model)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    tokens = torch.randint(4096, (2, 9), generator=torch.Generator().manual_seed(0))
    for _ in range(3):
        model(tokens).logsumexp(-1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    return {name.rpartition("weights.")[2] for name in changed if ".weights." in name}


WC, B = {"A", "W_alpha", "s_alpha"}, {"B", "W_beta", "s_beta"}


@pytest.mark.parametrize(
    "overrides, trained",
    [
        ((), WC | B),
        (("residual.train_wc=false",), B),
        (("residual.train_b=false",), WC),
    ],
)
def test_frozen_parts_do_not_move(overrides, trained):
    assert moved("residual=dhc", *overrides) == trained
    assert moved("residual=shc", *overrides) == trained & {"A", "B"}


@pytest.mark.parametrize("knob, value", [("lr", 0), ("lr", -1), ("weight_decay", -0.1)])
def test_values_out_of_range_are_named(knob, value):
    knobs = {"lr": 1e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1, knob: value}
    with pytest.raises(ValueError, match=f"optimizer.{knob}={value}"):
        AdamW(**knobs)
