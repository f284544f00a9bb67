"""How an OLMo is spelled here and in `transformers`: tables that export and import both read."""

from collections.abc import Mapping

from torch import Tensor

# Our parameters, each with those of `transformers` that are stacked in it, rows upon rows.
ENDS = {"embedding.weight": ("model.embed_tokens.weight",), "unembedding.weight": ("lm_head.weight",)}
BLOCK = {
    "attention.qkv.weight": ("self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"),
    "attention.out.weight": ("self_attn.o_proj.weight",),
    "feed_forward.gate_up.weight": ("mlp.gate_proj.weight", "mlp.up_proj.weight"),
    "feed_forward.out.weight": ("mlp.down_proj.weight",),
}

# Knobs of `model` and the keys of config.json that say the same.
KEYS = {
    "d": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "inner": "intermediate_size",
    "tied": "tie_word_embeddings",
}

# Knobs of `model` that OlmoForCausalLM has no key for: its code has these values.
SWIGLU = {"_target_": "hcexp.model.FeedForward", "_partial_": True}
BUILT_IN = {"norm": "layer_norm", "norm_affine": False, "norm_eps": 1e-5, "qk_norm": False, "feed_forward": SWIGLU}

# The other knobs that OLMo follows or does not show: the vocabulary's are the rows of the embedding, and the key of
# rope_theta has moved from one version of `transformers` to the next.
FREE = ("_target_", "vocabulary_size", "pad_vocabulary_to", "rope_theta", "init", "activation_checkpointing")


def stacked_names(layers: int, tied: bool) -> dict[str, tuple[str, ...]]:
    """Every parameter of a plain network by our name, with the names of its parts in `transformers`."""
    names = {ours: theirs for ours, theirs in ENDS.items() if not (tied and ours.startswith("unembedding"))}
    for i in range(layers):
        for ours, theirs in BLOCK.items():
            names[f"blocks.{i}.{ours}"] = tuple(f"model.layers.{i}.{name}" for name in theirs)
    return names


def to_olmo(weights: Mapping[str, Tensor], layers: int, tied: bool) -> dict[str, Tensor]:
    """Our weights cut into those of `OlmoForCausalLM`, each with a memory of its own, as safetensors wants it."""
    return {
        name: part.clone()
        for ours, names in stacked_names(layers, tied).items()
        for name, part in zip(names, weights[ours].chunk(len(names)), strict=True)
    }


def beyond_olmo(model: Mapping, plain: bool) -> str | None:
    """What keeps a network from being an `OlmoForCausalLM`, in a few words; None if nothing does.

    `model` is the resolved section of a run's configuration, `plain` what the residual stream says of itself. A
    knob that is not in the tables above is taken for a difference: nobody has said that it is none.
    """
    if not plain:
        return "its residual connections are not those of a plain transformer"
    different = [knob for knob, value in BUILT_IN.items() if model.get(knob, value) != value]
    different += [knob for knob in model if knob not in (*KEYS, *BUILT_IN, *FREE)]
    return f"OLMo has no model.{different[0]}={model[different[0]]}" if different else None
