"""The processes that drive sweeps on a folder of runs, so that others can join them by naming that folder alone."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from hcexp.run.lock import RunLock
from hcexp.study.search.journal import JOURNAL

FOLDER = ".sweeps"  # among the runs: a folder for each driver, locked for as long as it lives
COMMAND = "command.json"


class Command(NamedTuple):
    """The arguments of a driver's `hcexp sweep`, and the folder in which they mean what they mean."""

    arguments: tuple[str, ...]
    folder: str


@contextmanager
def announced(runs: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Let others find this process at work with these arguments, which hold no secret."""
    folder = runs / FOLDER / uuid4().hex
    while (lock := RunLock.take(folder)) is None:  # who looks at it takes it for one that is left
        pass
    try:
        (folder / COMMAND).write_text(json.dumps(Command(tuple(arguments), os.getcwd())), encoding="utf-8")
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # who looks at it just now removes the rest
        lock.close()


def is_store(word: str | None) -> bool:
    """Whether a word names a folder of runs in which sweeps were begun, or the journal of its studies."""
    path = Path(word or "")
    return path.name == JOURNAL and path.is_file() or (path / JOURNAL).is_file()


def at_work(store: Path) -> list[Command]:
    """The commands of the sweeps that processes are at in a store, each once; what the dead have left is removed."""
    runs = store.parent if store.name == JOURNAL else store
    found = []
    for folder in sorted((runs / FOLDER).glob("*/")):
        if (lock := RunLock.take(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)  # who looks at it just now removes the rest
            lock.close()
            continue
        with suppress(FileNotFoundError, json.JSONDecodeError):  # it has just ended, or just begun
            arguments, where = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
            found.append(Command(tuple(arguments), where))
    return list(dict.fromkeys(found))
