"""A folder that somebody else sent, with a checkpoint whose pickles would run code: nobody runs it."""

import pickle
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch.distributed import checkpoint as distributed

from hcexp.callbacks.shards import read_metadata, read_weights
from tests.conftest import MINUTE


class Poison:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def in_metadata(folder, marker):
    (folder / ".metadata").write_bytes(pickle.dumps(Poison(marker)))


def in_a_shard(folder, marker):
    """Under a name that an optimizer has, where torch unpickles whatever it finds."""
    distributed.save({"optimizer_0": {"lr": Poison(marker)}}, checkpoint_id=folder, no_dist=True)


def in_the_last_file(folder, marker):
    torch.save({"callbacks": Poison(marker)}, folder / "meta.pt")


POISONS = {7: in_metadata, 8: in_a_shard, 9: in_the_last_file}


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def poison(marker, monkeypatch):
    """Gives a run newer checkpoints, each of which would write `marker` in its own way; what is drawn is left out."""
    monkeypatch.setattr("hcexp.analysis.checkpoint.draw_alone", lambda *arguments: [])

    def give(run):
        for step, harm in POISONS.items():
            folder = run / "checkpoints" / f"step={step:06}.ckpt"
            distributed.save({"state_dict": {"weight": torch.ones(3)}}, checkpoint_id=folder, no_dist=True)
            torch.save({"callbacks": {}}, folder / "meta.pt")
            harm(folder, marker)
        return run

    return give


def test_a_poison_works_where_nobody_looks(tmp_path, marker):
    in_metadata(tmp_path, marker)
    with pytest.raises(AttributeError):  # what it leaves is no metadata
        distributed.FileSystemReader(tmp_path).read_metadata()
    assert marker.exists()


def test_a_stopped_run_is_listed_analysed_and_goes_on_without_it(hcexp, refused, runs, trained, poison, marker):
    run = poison(runs / trained.stopped.identity)
    for words in (["runs"], ["compare", run, runs / trained.dhc.identity]):
        assert hcexp(*words, f"paths.runs={runs}")[0] == 0
    assert hcexp("analyse", run, "--tokens", 64)[0] == 0
    for step in POISONS:
        shards = run / "checkpoints" / f"step={step:06}.ckpt"
        for verb in ("export", "evaluate"):
            line = refused(verb, run, "--checkpoint", shards)
            assert line == f"{shards} is no checkpoint, or a damaged one: it cannot be read (UnpicklingError)"
    unread = r"cannot be read \(UnpicklingError\)"
    passed_over = f"step=000009.ckpt {unread}, .*{unread}, .*{unread}: .* from step=000002.ckpt"
    with pytest.warns(UserWarning, match=passed_over):
        assert hcexp("train", "--resume", run)[0] == 0
    assert not marker.exists()


def test_a_finished_run_is_reported_without_it(hcexp, runs, trained, poison, marker, texts, tmp_path):
    poison(runs / trained.pre_norm.identity)
    rows = [{"label": "Pre-Norm", "overrides": []}]
    sweep = {"title": "One", "baseline": "Pre-Norm", "overrides": list(MINUTE), "seeds": [0], "rows": rows}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(sweep))
    files = [f"data.files={texts}/train.txt", f"evaluation.files={texts}/held.txt", f"paths.cache={texts}/cache"]
    status, out, err = hcexp("report", tmp_path / "one.yaml", "--analyse", *files, f"paths.runs={runs}")
    assert status == 0 and "step 6 of 6" in out, out + err
    assert not marker.exists()


def test_shards_of_another_folder_and_other_classes_are_refused(tmp_path):
    folder = tmp_path / "shards"
    distributed.save({"state_dict": {"weight": torch.arange(3.0)}}, checkpoint_id=folder, no_dist=True)
    assert torch.equal(read_weights(folder)["weight"], torch.arange(3.0))
    shutil.copy(folder / ".metadata", tmp_path / "good")
    for content in (b"cbuiltins\neval\n(V1\ntR.", b"cos\nsystem\n(Vtrue\ntR.", pickle.dumps([1])):
        (folder / ".metadata").write_bytes(content)
        with pytest.raises(pickle.UnpicklingError):
            read_metadata(folder)
