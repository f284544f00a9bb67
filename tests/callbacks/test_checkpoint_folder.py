import os

import pytest
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from torch.distributed import checkpoint as distributed

from hcexp.callbacks import damage, latest, to_go_on_from
from hcexp.callbacks.checkpoint_folder import DAMAGED

NEWEST, SECOND, OLDEST = (f"step={step}.ckpt" for step in ("1000000", "000010", "000009"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three checkpoints."""
    monkeypatch.setenv(DAMAGED, "")
    for name in (NEWEST, SECOND, OLDEST):
        torch.save({"step": torch.full((1000,), float(len(name)))}, tmp_path / name)
    (tmp_path / "step=9999999.ckpt.partial").touch()
    (tmp_path / "last.ckpt").touch()
    return tmp_path


def cut(path, end=-30):
    path.write_bytes(path.read_bytes()[:end])


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
    state = {"state_dict": {"weight": torch.arange(1000.0), "bias": torch.ones(3)}, "optimizer_0": {"lr": 1e-3}}
    distributed.save(state, checkpoint_id=path, no_dist=True)
    torch.save({"callbacks": {}}, path / "meta.pt")


def in_shards(harm, pattern):
    def harm_shards(path):
        shards(path)
        harm(next(path.glob(pattern)))

    return harm_shards


def point_elsewhere(path):
    """At a file of another folder, which is long enough."""
    (path.parents[1] / "other").write_bytes(bytes(10_000))
    path.write_bytes(path.read_bytes().replace(b"__0_0.distcp", b"../../other "))


HARM = [
    (cut, "is cut off"),
    (lambda path: cut(path, path.stat().st_size // 2), "is cut off"),
    (lambda path: cut(path, 0), "is empty"),
    (flip, "does not have the checksum of its .*data"),
    (unfinish, "is not complete"),
    (in_shards(cut, "meta.pt"), "is cut off"),
    (in_shards(cut, "*.distcp"), "is cut off in __0_0.distcp"),
    (in_shards(os.unlink, "*.distcp"), "is cut off in __0_0.distcp"),
    (in_shards(os.unlink, ".metadata"), "is not complete"),
    (in_shards(cut, ".metadata"), r"cannot be read \(UnpicklingError\)"),
    (in_shards(point_elsewhere, ".metadata"), "has a shard elsewhere"),
    (lambda path: torch.save({"step": Ellipsis}, path), r"cannot be read \(UnpicklingError\)"),
]


def test_the_newest_goes_by_step(folder):
    for change in (lambda path: None, shards):
        change(folder / NEWEST)
        assert latest(folder).name == to_go_on_from(folder).name == NEWEST
    assert latest(folder / "missing") is None and to_go_on_from(folder / "missing") is None


@pytest.mark.parametrize(("harm", "reason"), HARM)
def test_of_a_damaged_one_the_one_before_is_taken_and_both_are_named(folder, harm, reason):
    harm(folder / NEWEST)
    assert latest(folder).name == SECOND
    with pytest.warns(UserWarning, match=f"{NEWEST} {reason}.*: the run goes on from {SECOND}"):
        assert to_go_on_from(folder).name == SECOND
    harm(folder / SECOND)
    harm(folder / OLDEST)
    assert latest(folder) is None
    with pytest.raises(ValueError, match=rf"\Ano checkpoint in {folder} is whole: .*{reason}.*delete the folder.*\Z"):
        to_go_on_from(folder)


def test_the_first_process_reads_every_byte_and_the_others_go_where_it_goes(folder, monkeypatch):
    newest = folder / NEWEST
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    flip(newest)
    assert damage(newest, thorough=False) is None and to_go_on_from(folder) == newest, "it trusts the first"
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    with pytest.warns(UserWarning, match="does not have the checksum"):
        assert to_go_on_from(folder).name == SECOND
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # one that the first has started
    assert to_go_on_from(folder).name == SECOND
    monkeypatch.setattr(rank_zero_only, "rank", 0)
    monkeypatch.setenv("WORLD_SIZE", "2")  # started by others together with this one: they cannot know
    with pytest.raises(ValueError, match=f"{newest} does not have the checksum .*: delete it, and the same command"):
        to_go_on_from(folder)
    newest.unlink()
    assert to_go_on_from(folder).name == SECOND and os.environ[DAMAGED] == ""


def test_whatever_bit_of_a_checkpoint_is_wrong_is_found_or_what_is_loaded_is_right(folder):
    path = folder / SECOND
    whole, right = path.read_bytes(), torch.load(path, weights_only=True)["step"]
    (folder / NEWEST).unlink()
    size = len(whole)
    for position in (*range(0, 200, 7), *range(size // 3, size // 3 + 20), *range(size - 600, size, 5)):
        content = bytearray(whole)
        content[position] ^= 4
        path.write_bytes(content)
        if latest(folder) == path:
            assert torch.equal(torch.load(path, weights_only=True)["step"], right), position
