"""A trained model as a folder that `AutoModelForCausalLM.from_pretrained` loads."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from torch import Tensor

import hcexp
from hcexp.data import TextTokenizer
from hcexp.huggingface.network import build
from hcexp.huggingface.olmo import KEYS, beyond_olmo, to_olmo
from hcexp.huggingface.tokenizer import TokenizerFiles

# What `transformers` imports from a folder with code of its own: two files that import this package.
CODE = {"AutoConfig": "configuration_hcexp.HcexpConfig", "AutoModelForCausalLM": "modeling_hcexp.HcexpForCausalLM"}


def export(
    model: Mapping[str, Any],
    residual: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    tokenizer: TextTokenizer,
    folder: Path,
    *,
    sequence_length: int,
) -> str | None:
    """Write weights as safetensors, `config.json`, `generation_config.json` and the tokenizer's files.

    A plain transformer with OLMo's block becomes an `OlmoForCausalLM`, which needs no code of ours. Any other gets
    two files that import this package, and loads with `trust_remote_code=True` where it is installed. The folder
    appears when it is whole. Returns what keeps it from being an `OlmoForCausalLM`, in a few words; or None.

    Args:
        model, residual: these sections of the run's configuration, resolved.
        weights: the network's, by our names.
        tokenizer: the one it was trained with.
        folder: must not exist yet, or it raises FileExistsError.
        sequence_length: tokens a sequence in training, which is as far as the folder claims to reach.

    Raises ValueError if the weights are not the network's.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists: delete it, or name another with --to")
    with torch.device("meta"):
        network = build(model, residual)
    _require_all(network, weights)
    beyond = beyond_olmo(model, network.stream.plain)
    files = TokenizerFiles(tokenizer)
    config: dict[str, Any] = {
        **{key: model[knob] for knob, key in KEYS.items()},
        "vocab_size": network.embedding.num_embeddings,
        "max_position_embeddings": sequence_length,
        "dtype": str(weights["embedding.weight"].dtype).removeprefix("torch."),
        "use_cache": True,
        **files.ids,
    }
    if beyond is None:
        weights = to_olmo(weights, model["layers"], model["tied"])
        config |= {"architectures": ["OlmoForCausalLM"], "model_type": "olmo", "rope_theta": model["rope_theta"]}
    else:
        weights = {f"network.{name}": weight for name, weight in weights.items()}
        config |= {"architectures": ["HcexpForCausalLM"], "model_type": "hcexp", "auto_map": CODE}
        config |= {"hcexp_version": hcexp.__version__, "model": dict(model), "residual": dict(residual)}

    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of an export that was stopped
    partial.mkdir(parents=True)
    save_torch_state_dict(weights, partial)
    for place in CODE.values() if beyond else ():
        name = f"{place.partition('.')[0]}.py"
        shutil.copyfile(Path(__file__).with_name(name), partial / name)
    _write(partial / "config.json", config)
    _write(partial / "generation_config.json", {**files.generation_ids, "use_cache": True})
    files.write(partial, sequence_length)
    os.replace(partial, folder)
    return beyond


def _require_all(network: torch.nn.Module, weights: Mapping[str, Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if different := sorted(dict(expected.items() ^ found.items())):
        name = different[0]
        raise ValueError(
            f"the checkpoint is not of this configuration: {name} has shape {found.get(name, 'none')}, "
            f"and the network needs {expected.get(name, 'none')}"
        )


def _write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
