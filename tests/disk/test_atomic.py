"""Under its name a file is whole, whatever happens while it is written."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch

from hcexp.disk.atomic import atomic_write, write_json, write_text

PROGRAM = """
import os, pathlib, sys
from hcexp.disk.atomic import atomic_write
with atomic_write(pathlib.Path(sys.argv[1])) as f: """


@pytest.fixture
def old(tmp_path):
    """A file, which nothing lies beside in the end."""
    path = tmp_path / "there.txt"
    path.write_text("old")
    yield path
    assert list(tmp_path.iterdir()) == [path]


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_and_its_folder_made(old, tmp_path_factory):
    with atomic_write(old) as file:
        file.write("new: ü\r\n")
        assert old.read_text() == "old"
    assert old.read_bytes() == "new: ü\r\n".encode()
    with atomic_write(old, "wb") as file:
        torch.save({"a": torch.ones(2)}, file)
    assert torch.load(old, weights_only=True)["a"].tolist() == [1, 1]
    path = tmp_path_factory.mktemp("deep") / "er" / "a.json"
    write_json(path, {"é": [1, None]})
    assert json.loads(path.read_text()) == {"é": [1, None]} and '"é"' in path.read_text()
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_one_line_and_the_old_file_stays(old, monkeypatch, step):
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match=f"^.*{old} was not written .No space left on device.: make room, and") as error:
        write_text(old, "new")
    assert error.value.errno == errno.ENOSPC and old.read_text() == "old"


def test_so_is_one_that_torch_makes_an_error_of_its_own_of_but_not_another_trouble(old):
    with pytest.raises(OSError, match="make room") as error, atomic_write(old) as file:
        try:
            full(file)
        finally:
            raise RuntimeError("PytorchStreamWriter failed")
    assert error.value.errno == errno.ENOSPC and old.read_text() == "old"
    with pytest.raises(OSError, match=r"was not written \([^)]*\)$"):
        write_text(old / "below a file" / "a.txt", "a")


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), ValueError("of the writer"), RuntimeError("its own")])
def test_what_is_not_of_the_disk_stays_what_it_is(old, stop):
    with pytest.raises(type(stop)) as error, atomic_write(old) as file:
        file.write("half")
        raise stop
    assert error.value is stop and old.read_text() == "old"


def test_two_that_write_the_same_file_take_turns(old):
    code = f"{PROGRAM}print(f.write('theirs, and longer'), flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(old)], **pipes) as other:
        assert other.stdout.readline() == "18\n"
        ours = threading.Thread(target=write_text, args=(old, "ours"))
        ours.start()
        ours.join(0.5)
        assert ours.is_alive() and old.read_text() == "old"
        other.communicate()
        ours.join()
    assert old.read_text() == "ours"


def test_a_killed_writer_leaves_the_old_file_and_nothing_after_the_next(old):
    code = f"{PROGRAM}f.write('half'); f.flush(); os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", code, str(old)]).returncode == -signal.SIGKILL
    assert old.read_text() == "old"
    write_text(old, "new")
    assert old.read_text() == "new"
