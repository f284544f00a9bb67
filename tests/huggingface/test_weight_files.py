import json

import pytest
import torch
from safetensors.torch import save_file

from hcexp.huggingface.weight_files import WeightFiles


def test_weights_are_read_by_name_from_one_file_or_shards(olmo):
    model, whole = olmo("whole")
    _, sharded = olmo("sharded", save={"max_shard_size": "30KB"})
    assert len(list(sharded.glob("model-*.safetensors"))) > 1 and not (sharded / "model.safetensors").exists()
    state = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}  # tied
    for folder in (whole, sharded):
        files = WeightFiles(folder)
        assert files.shapes == {name: tuple(tensor.shape) for name, tensor in state.items()}
        with files.opened() as read:
            assert all(read(name).equal(tensor) for name, tensor in state.items())


def test_the_checksum_is_of_the_content_and_damage_is_named(olmo):
    one, same, other = (olmo(name, seed)[1] for name, seed in (("one", 0), ("same", 0), ("other", 1)))
    assert WeightFiles(one).checksum == WeightFiles(same).checksum != WeightFiles(other).checksum
    path = one / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged: [^\n]+$"):
        WeightFiles(one)


def test_pickled_weights_are_not_read(tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match="no model.safetensors in .*: other formats are not read"):
        WeightFiles(tmp_path)


def test_an_index_does_not_lead_out_of_the_folder(tmp_path):
    (tmp_path / "inside").mkdir()
    save_file({"weight": torch.ones(1)}, tmp_path / "outside.safetensors")
    index = {"weight_map": {"weight": "../outside.safetensors"}}
    (tmp_path / "inside" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="outside.safetensors"):
        WeightFiles(tmp_path / "inside")
