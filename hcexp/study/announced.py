"""Which sweeps are at work on a folder of runs, so that others can join them by naming that folder alone."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, NamedTuple

from hcexp.study.search.journal import JOURNAL

FOLDER = ".sweeps"  # among the runs: a file for each process that drives a sweep, locked for as long as it lives


class Command(NamedTuple):
    """What drives a sweep: the arguments of `hcexp sweep`, and the folder in which they mean what they mean."""

    arguments: tuple[str, ...]
    folder: str


@contextmanager
def announced(runs: Path, arguments: Sequence[str]) -> Iterator[None]:
    """Let others find this process at work with these arguments, which hold no secret."""
    (runs / FOLDER).mkdir(parents=True, exist_ok=True)
    with _locked(runs / FOLDER) as file:
        json.dump(Command(tuple(arguments), os.getcwd()), file)
        file.flush()
        try:
            yield
        finally:
            Path(file.name).unlink(missing_ok=True)


def is_store(word: str | None) -> bool:
    """Whether a word names a folder of runs in which sweeps were begun, or the journal of its studies."""
    path = Path(word or "")
    return path.name == JOURNAL and path.is_file() or (path / JOURNAL).is_file()


def at_work(store: Path) -> list[Command]:
    """The commands of the sweeps that processes are at in a store, each once; what the dead have left is removed."""
    runs = store.parent if store.name == JOURNAL else store
    found = []
    for path in sorted((runs / FOLDER).glob("*.json")):
        # It may have just ended, or just begun, with nothing written yet.
        with suppress(FileNotFoundError, json.JSONDecodeError), path.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                path.unlink()
            except BlockingIOError:
                arguments, folder = json.load(file)
                found.append(Command(tuple(arguments), folder))
    return list(dict.fromkeys(found))


def _locked(folder: Path) -> IO[str]:
    """A new file in the folder."""
    while True:
        file = NamedTemporaryFile("w", encoding="utf-8", dir=folder, suffix=".json", delete=False)
        fcntl.flock(file, fcntl.LOCK_EX)
        if Path(file.name).exists():  # else somebody took it for one that is left, before it was locked
            return file
        file.close()
