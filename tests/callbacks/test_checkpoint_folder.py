import pytest
import torch
from torch.distributed import checkpoint as distributed

from hcexp.callbacks import latest, to_go_on_from


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints."""
    for step in ("000009", "000010", "1000000"):
        torch.save({"step": torch.full((1000,), float(step))}, tmp_path / f"step={step}.ckpt")
    (tmp_path / "step=9999999.ckpt.partial").touch()
    (tmp_path / "last.ckpt").touch()
    return tmp_path


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def halve(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unfinish(path):
    path.unlink()
    path.mkdir()
    (path / "shard.distcp").touch()


def shards(path):
    path.unlink()
    state = {"state_dict": {"weight": torch.arange(1000.0), "bias": torch.ones(3)}}
    distributed.save(state, checkpoint_id=path, no_dist=True)
    torch.save({"callbacks": {}}, path / "meta.pt")


def cut_the_last_of_shards(path):
    shards(path)
    cut(path / "meta.pt")


def cut_a_shard(path):
    shards(path)
    (shard,) = path.glob("*.distcp")
    cut(shard)


def lose_a_shard(path):
    shards(path)
    (shard,) = path.glob("*.distcp")
    shard.unlink()


def lose_what_shards_hold(path):
    shards(path)
    (path / ".metadata").unlink()


def cut_what_shards_hold(path):
    shards(path)
    cut(path / ".metadata")


def other(path):
    torch.save({"step": Ellipsis}, path)


def test_the_newest_goes_by_step(folder):
    assert latest(folder).name == to_go_on_from(folder).name == "step=1000000.ckpt"
    assert latest(folder / "missing") is None and to_go_on_from(folder / "missing") is None


def test_shards_that_are_all_there_are_taken(folder):
    shards(folder / "step=1000000.ckpt")
    assert latest(folder).name == to_go_on_from(folder).name == "step=1000000.ckpt"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "is cut off"),
        (halve, "is cut off"),
        (empty, "is empty"),
        (flip, "does not have the checksum of its .*data"),
        (unfinish, "is not complete"),
        (cut_the_last_of_shards, "is cut off"),
        (cut_a_shard, "is cut off in __0_0.distcp"),
        (lose_a_shard, "is cut off in __0_0.distcp"),
        (lose_what_shards_hold, "is not complete"),
        (cut_what_shards_hold, r"cannot be read \(UnpicklingError\)"),
        (other, r"cannot be read \(UnpicklingError\)"),
    ],
)
def test_of_a_damaged_one_the_one_before_is_taken_and_both_are_named(folder, damage, reason):
    damage(folder / "step=1000000.ckpt")
    assert latest(folder).name == "step=000010.ckpt"
    with pytest.warns(UserWarning, match=f"step=1000000.ckpt {reason}.*: the run goes on from step=000010.ckpt"):
        assert to_go_on_from(folder).name == "step=000010.ckpt"
    damage(folder / "step=000010.ckpt")
    damage(folder / "step=000009.ckpt")
    assert latest(folder) is None
    with pytest.raises(ValueError, match=f"no checkpoint in {folder} is whole: .*{reason}.*delete the folder") as error:
        to_go_on_from(folder)
    assert "\n" not in str(error.value)


def test_every_damage_that_matters_is_found(folder):
    """Whatever bit of a checkpoint is wrong: either that is found, or what is loaded is right."""
    path = folder / "step=000010.ckpt"
    whole, right = path.read_bytes(), torch.load(path, weights_only=True)["step"]
    (folder / "step=1000000.ckpt").unlink()
    size = len(whole)
    for position in (*range(0, 200, 7), *range(size // 3, size // 3 + 20), *range(size - 600, size, 5)):
        content = bytearray(whole)
        content[position] ^= 4
        path.write_bytes(content)
        if latest(folder) == path:
            assert torch.equal(torch.load(path, weights_only=True)["step"], right), position
