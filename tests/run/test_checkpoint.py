import shutil

import pytest
import torch

from hcexp.callbacks import latest
from hcexp.run.checkpoint import load_trained


@pytest.fixture
def run(make_run):
    made = make_run()
    made.train()
    return made.directory


def test_the_newest_checkpoint_is_read_or_one_by_its_file(run):
    trained = load_trained(run)
    assert trained.step == 6 and trained.checksum() == load_trained(run, latest(run / "checkpoints")).checksum()


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "what"),
    [
        (cut, "is cut off"),
        (flip, "does not have the checksum of its "),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("{}"), "is "),
        (lambda path: torch.save({"step": Ellipsis}, path), "cannot be read (UnpicklingError)"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_named_in_one_line(run, refused, harm, what):
    path = run / "checkpoints" / "other.ckpt"
    shutil.copy(latest(run / "checkpoints"), path)
    harm(path)
    line = refused("analyse", path)
    assert line.startswith(f"{path} is no checkpoint, or a damaged one: it {what}")
    assert refused("evaluate", run, "--checkpoint", path) == line


@pytest.mark.parametrize("content", [{"weight": torch.zeros(1)}, [1], {"state_dict": {}}])
def test_what_torch_has_saved_need_not_be_a_checkpoint(run, refused, content):
    torch.save(content, run / "model.pt")
    assert refused("analyse", run / "model.pt") == (
        f"{run}/model.pt is no checkpoint of a run: it has no state_dict and global_step"
    )


def test_another_file_of_the_run_is_no_checkpoint(run, refused):
    assert refused("analyse", run / "result.json").startswith(f"{run}/result.json is no checkpoint, or a damaged one")


def test_a_damaged_configuration_is_named_in_one_line(run, refused):
    (run / "config.yaml").write_text("a: [1\n")
    assert refused("analyse", run).startswith(f"{run}/config.yaml is damaged: ")
