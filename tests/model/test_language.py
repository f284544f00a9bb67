"""The network: against another implementation, in its sizes, and blind to the mode it carries."""

from functools import partial

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounterWithBackend

from hcexp.configuration import build_model, compose
from hcexp.model import LanguageModel
from hcexp.residual import AltUp, DynamicHyperConnections, PreNorm, StaticHyperConnections
from tests.registered import MODES


def tokens(batch=2, seq=17, vocabulary=100):
    return torch.randint(vocabulary, (batch, seq), generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def load_olmo(model: LanguageModel, olmo) -> None:
    """Copy the weights of a `transformers` OLMo into ours, which holds q, k, v and gate, up in one matrix each."""
    weights = olmo.state_dict()
    model.embedding.weight.copy_(weights["model.embed_tokens.weight"])
    if model.unembedding is not None:
        model.unembedding.weight.copy_(weights["lm_head.weight"])
    for i, block in enumerate(model.blocks):
        joined = {
            block.attention.qkv: [f"self_attn.{name}" for name in "qkv"],
            block.attention.out: ["self_attn.o"],
            block.feed_forward.gate_up: ["mlp.gate", "mlp.up"],
            block.feed_forward.out: ["mlp.down"],
        }
        for module, names in joined.items():
            module.weight.copy_(torch.cat([weights[f"model.layers.{i}.{name}_proj.weight"] for name in names]))


@pytest.mark.parametrize("tied", [True, False])
def test_pre_norm_is_the_olmo_of_transformers(small, tied):
    from transformers import OlmoConfig, OlmoForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 100, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
    sizes |= {"num_attention_heads": 4, "tie_word_embeddings": tied, "initializer_range": 0.2}
    olmo = OlmoForCausalLM(OlmoConfig(**sizes)).eval()
    model = small(tied=tied)
    load_olmo(model, olmo)
    expected = olmo(tokens()).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(model(tokens()), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size, billions", [("20m", 0.021), ("60m", 0.059), ("150m", 0.152), ("300m", 0.320)])
def test_the_smaller_rungs_are_as_large_as_they_are_called(size, billions):
    model = build_model(compose([f"model={size}"]))
    assert sum(p.numel() for p in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("kind", [StaticHyperConnections, DynamicHyperConnections])
@pytest.mark.parametrize("n", [1, 2, 3, 8])
def test_the_summed_streams_are_n_times_pre_norm(small, kind, n):
    """Before the final norm exactly; after it but for its ε, which weighs n² times less on an n-fold vector."""
    plain = small().double()
    hyper = small(partial(kind, n=n, output_init_exponent=0.0)).double()
    found = {}
    for name, model in {"plain": plain, "hyper": hyper}.items():
        model.stream.norm.register_forward_pre_hook(lambda module, given, name=name: found.update({name: given[0]}))
        found[f"{name} logits"] = model(tokens())
    torch.testing.assert_close(found["hyper"], n * found["plain"], rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found["hyper logits"], found["plain logits"], rtol=1e-3, atol=1e-3)
    hyper.stream.norm.eps *= n**2
    torch.testing.assert_close(hyper(tokens()), found["plain logits"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_one_seed_gives_every_mode_the_same_backbone(small, mode):
    model = small(mode, seed=3)
    own = dict(model.named_parameters())
    for name, weight in small("pre_norm", seed=3).named_parameters():
        factor = model.stream.output_init_factor if name.endswith("out.weight") else 1
        torch.testing.assert_close(own[name], factor * weight)
    assert not torch.equal(small(mode, seed=4).embedding.weight, model.embedding.weight)


@pytest.mark.parametrize("mode", MODES)
def test_a_token_does_not_see_the_future_and_every_trained_parameter_has_a_gradient(small, mode):
    """Processes that share a batch wait for all gradients."""
    model, before = small(mode), tokens()
    after = before.clone()
    after[:, 9:] = (after[:, 9:] + 1) % 100
    logits = model(before)
    torch.testing.assert_close(logits[:, :9], model(after)[:, :9], rtol=0, atol=1e-6)
    logits.logsumexp(-1).mean().backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_options_change_the_network(small):
    plain = small()(tokens())
    for knobs in ({"norm": "rms_norm", "norm_affine": True}, {"qk_norm": True}, {"init": "normal"}):
        assert not torch.equal(small(**knobs)(tokens()), plain)
    assert small(pad_vocabulary_to=128)(tokens()).shape == (2, 17, 128)


@pytest.mark.parametrize(
    "knobs, message",
    [
        ({"heads": 3}, r"model\.heads=3 does not divide model\.d=32"),
        ({"heads": 0}, r"model\.heads=0"),
        ({"d": 33}, r"model\.d=33 .*even"),
        ({"norm_eps": 0.0}, r"model\.norm_eps=0\.0 must be greater than 0"),
        ({"rope_theta": -1.0}, r"model\.rope_theta=-1\.0 must be greater than 0"),
        ({"layers": 0}, r"model\.layers=0 must be 1 or more"),
        ({"inner": 0}, r"model\.inner=0"),
        *(
            ({name: size}, rf"^model\.{name}={size} must be 1 or more, and at most \d+$")
            for name in ("d", "layers", "inner", "vocabulary_size", "pad_vocabulary_to")
            for size in (10**9, 10**30)
        ),
        ({"norm": "batch_norm"}, r"model\.norm=batch_norm .*layer_norm"),
        ({"init": "zero"}, r"model\.init=zero .*mitchell"),
    ],
)
def test_sizes_that_do_not_fit_are_named(small, knobs, message):
    with pytest.raises(ValueError, match=message):
        small(**knobs)


# Inductor's code of every mode at one length is in `test_numerics`.
@pytest.mark.slow
@pytest.mark.parametrize(("mode", "backend"), [*((mode, "aot_eager") for mode in MODES), ("dhc", "inductor")])
def test_compiled_equals_eager_without_a_graph_break_at_any_length(small, mode, backend, compile_with):
    compile_with(backend)
    eager, compiled = small(mode, layers=2), small(mode, layers=2)
    for model in (eager, compiled):
        torch.manual_seed(1)
        for parameter in model.stream.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    for block in compiled.blocks:
        block.compile(fullgraph=True)
    for seq in (17, 16):
        loss, other = eager(tokens(seq=seq)).logsumexp(-1).mean(), compiled(tokens(seq=seq)).logsumexp(-1).mean()
        torch.testing.assert_close(other, loss, rtol=1e-5, atol=1e-5)
    loss.backward(), other.backward()
    for (name, a), b in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        assert (b.grad - a.grad).norm() <= 1e-3 * a.grad.norm(), name


def forms(model, compile):
    """How many graphs torch makes of the model, none of which may break."""
    torch._dynamo.reset()
    counter = CompileCounterWithBackend("eager")
    for module in compile:
        module.compile(backend=counter, fullgraph=True)
    model(tokens())
    return counter.frame_count


@pytest.mark.parametrize("mode", MODES)
def test_few_compilations_without_a_graph_break_serve_all_blocks(small, mode):
    """One, but where the first block or each active stream is a form of its own; and one of the whole network."""
    model = small(mode, layers=5)
    assert forms(model, model.blocks) <= {"altup": 3, "parallel": 2}.get(mode, 1)
    model = small(mode, layers=2)
    assert forms(model, [model]) == 1


def test_more_forms_of_a_block_are_compiled_than_torch_allows_by_default(small):
    """One for each active stream."""
    model = small(partial(AltUp, n=4), layers=4)
    with torch._dynamo.config.patch(recompile_limit=2):
        model.compile_blocks()
        assert torch._dynamo.config.recompile_limit > 10 and forms(model, model.blocks) == 4


@pytest.mark.parametrize("connections", [None, [], nn.ModuleList()], ids=["none", "list", "too few"])
def test_connections_that_do_not_fit_the_sublayers_are_refused(small, connections):
    class Odd(PreNorm):
        def __init__(self, *given):
            super().__init__(*given)
            del self.connections
            if connections is not None:
                self.connections = connections

    with pytest.raises(ValueError, match="^Odd.connections must be an nn.ModuleList with one connection for each of "):
        small(Odd)


def test_a_parameter_that_cannot_be_sharded_is_named(small):
    model = small()
    model.stream.gate = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ValueError, match="trainer=fsdp: the parameter stream.gate is a single number"):
        model.shard(None)
