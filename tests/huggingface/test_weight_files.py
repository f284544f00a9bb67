import json

import pytest
import torch
from safetensors.torch import save_file

from hcexp.huggingface.weight_files import WeightFiles


def test_damage_is_named_and_neither_pickles_nor_files_out_of_the_folder_are_read(olmo, tmp_path):
    """That weights are read by name, from a file or shards, and known by their content, is asked of networks."""
    _, folder = olmo()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged: [^\n]+$"):
        WeightFiles(folder)
    path.unlink()
    torch.save({"weight": torch.ones(1)}, folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no model.safetensors in .*: other formats are not read"):
        WeightFiles(folder)
    save_file({"weight": torch.ones(1)}, tmp_path / "outside.safetensors")
    index = {"weight_map": {"weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="outside.safetensors"):
        WeightFiles(folder)
