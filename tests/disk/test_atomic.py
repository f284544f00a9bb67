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


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "there.txt"
    path.write_text("old")
    return path


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_and_its_folder_made(old):
    with atomic_write(old) as file:
        file.write("new: ü\r\n")
        assert old.read_text() == "old"
    assert old.read_bytes() == "new: ü\r\n".encode()
    write_text(old.parent / "deep" / "er" / "a.txt", "a")
    assert (old.parent / "deep" / "er" / "a.txt").read_text() == "a"
    assert sorted(path.name for path in old.parent.iterdir()) == ["deep", "there.txt"]


def test_bytes(old):
    with atomic_write(old, "wb") as file:
        torch.save({"a": torch.ones(2)}, file)
    assert torch.load(old, weights_only=True)["a"].tolist() == [1, 1]


def test_json_ends_its_line(tmp_path):
    write_json(tmp_path / "a.json", {"é": [1, None]})
    text = (tmp_path / "a.json").read_text()
    assert json.loads(text) == {"é": [1, None]} and text.endswith("}\n") and "é" in text


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_one_line_and_the_old_file_stays(old, monkeypatch, step):
    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match=f"^.*{old} was not written .No space left on device.: make room, and") as error:
        write_text(old, "new")
    assert error.value.errno == errno.ENOSPC
    assert [path.name for path in old.parent.iterdir()] == ["there.txt"] and old.read_text() == "old"


def test_so_is_one_that_torch_makes_an_error_of_its_own_of(old):
    with pytest.raises(OSError, match="was not written") as error, atomic_write(old) as file:
        try:
            full(file)
        finally:
            raise RuntimeError("PytorchStreamWriter failed")
    assert error.value.errno == errno.ENOSPC and old.read_text() == "old"


def test_another_trouble_of_the_disk_gives_no_advice_on_room(old):
    with pytest.raises(OSError, match="was not written") as error:
        write_text(old / "below a file" / "a.txt", "a")
    assert error.value.errno in (errno.ENOTDIR, errno.EEXIST) and "room" not in str(error.value)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ValueError("of the writer"), RuntimeError("its own")])
def test_what_is_not_of_the_disk_stays_what_it_is(old, stop):
    with pytest.raises(stop if isinstance(stop, type) else type(stop)), atomic_write(old) as file:
        file.write("half")
        try:
            full(file)
        except OSError:
            pass
        raise stop
    assert [path.name for path in old.parent.iterdir()] == ["there.txt"] and old.read_text() == "old"


def test_two_that_write_the_same_file_take_turns(old):
    code = (
        "import pathlib, sys; from hcexp.disk.atomic import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as f:\n"
        "    print(f.write('theirs, and longer'), flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code, str(old)], **pipes) as other:
        assert other.stdout.readline() == "18\n"
        ours = threading.Thread(target=write_text, args=(old, "ours"))
        ours.start()
        ours.join(0.5)
        assert ours.is_alive() and old.read_text() == "old"
        other.communicate()
        ours.join()
    assert old.read_text() == "ours" and [path.name for path in old.parent.iterdir()] == ["there.txt"]


def test_a_killed_writer_leaves_the_old_file_and_nothing_after_the_next(old):
    code = (
        "import pathlib, os, signal, sys; from hcexp.disk.atomic import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as f:\n"
        "    f.write('half'); f.flush(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(old)]).returncode == -signal.SIGKILL
    assert old.read_text() == "old"
    write_text(old, "new")
    assert [path.name for path in old.parent.iterdir()] == ["there.txt"] and old.read_text() == "new"
