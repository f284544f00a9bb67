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


def groups_of(model, **asked):
    """The names of the parameters that decay, and of those that do not."""
    own = {id(p): name for name, p in model.named_parameters()}
    groups = decay_groups(model, 0.1, **asked)
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    return [{own[id(p)] for p in group["params"]} for group in groups]


def test_the_papers_groups():
    model = model_of("residual=dhc", "residual.norm_affine=true")
    decayed, undecayed = groups_of(model)
    weights = "stream.connections.1.weights."
    assert {weights + "W_alpha", weights + "W_beta", "unembedding.weight", "blocks.0.attention.qkv.weight"} <= decayed
    static = {weights + name for name in ("A", "B", "s_alpha", "s_beta", "norm.weight")}
    assert static | {"embedding.weight", "stream.norm.weight", "stream.connections.0.norm.weight"} <= undecayed
    assert decayed | undecayed == {name for name, _ in model.named_parameters()}
    assert not decayed & undecayed


def test_embeddings_norms_and_scales_decay_if_asked_for():
    decayed, undecayed = groups_of(model_of("residual=shc"), decay_embeddings=True, decay_norms=True)
    assert {"embedding.weight", "stream.norm.weight"} <= decayed
    assert undecayed == {f"stream.connections.{k}.weights.{name}" for k in range(4) for name in "AB"}
    decayed, _ = groups_of(model_of("residual=dhc", "residual.decay_scales=true"))
    assert "stream.connections.0.weights.s_alpha" in decayed


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
    own = {name: p for name, p in model.named_parameters() if ".weights." in name}
    changed = {name for name, p in own.items() if not torch.equal(p, before[name])}
    assert changed == {name for name, p in own.items() if p.requires_grad}
    return {name.rpartition("weights.")[2] for name in changed}


WC, B = {"A", "W_alpha", "s_alpha"}, {"B", "W_beta", "s_beta"}


@pytest.mark.parametrize("frozen, trained", [("", WC | B), ("train_wc", B), ("train_b", WC)])
def test_frozen_parts_do_not_move(frozen, trained):
    overrides = [f"residual.{frozen}=false"] if frozen else []
    assert moved("residual=dhc", *overrides) == trained
    assert moved("residual=shc", *overrides) == trained & {"A", "B"}
