import json

import pytest
import torch
from safetensors.torch import save_file

from hcexp.huggingface.weight_files import WeightFiles


def test_weights_are_read_by_name_and_the_checksum_is_of_the_content_and_damage_is_named(olmo):
    model, whole = olmo("whole")
    _, sharded = olmo("sharded", save={"max_shard_size": "30KB"})
    assert len(list(sharded.glob("model-*.safetensors"))) > 1 and not (sharded / "model.safetensors").exists()
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}  # tied
    for folder in (whole, sharded):
        files = WeightFiles(folder)
        assert files.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
        with files.opened() as read:
            assert all(read(name).equal(tensor) for name, tensor in state.items())

    same, other = (WeightFiles(olmo(name, seed)[1]).checksum for name, seed in (("same", 0), ("other", 1)))
    assert WeightFiles(whole).checksum == same != other
    path = whole / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged: [^\n]+$"):
        WeightFiles(whole)


def test_pickled_weights_are_not_read_nor_files_out_of_the_folder(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    torch.save({"weight": torch.ones(1)}, folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no model.safetensors in .*: other formats are not read"):
        WeightFiles(folder)
    save_file({"weight": torch.ones(1)}, tmp_path / "outside.safetensors")
    index = {"weight_map": {"weight": "../outside.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="outside.safetensors"):
        WeightFiles(folder)
