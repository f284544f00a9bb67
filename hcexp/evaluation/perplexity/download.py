"""Download a file once: resumed where it broke off, and known by its sha256 ever after."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from hcexp.disk.atomic import write_json
from hcexp.disk.checksum import file_checksum

ATTEMPTS = 4  # in a row that bring nothing
PAUSE = 1.0  # seconds before the second attempt; twice as long before each next one
TIMEOUT = 30.0  # seconds without an answer or without a byte of it
CHUNK = 1 << 16  # bytes; a connection that breaks loses what there is of one
BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be others in a moment


def download(url: str, path: Path, verify: bool = True) -> str:
    """The file at `url` in `path`, downloaded unless it is there; returns its sha256, in hex.

    What is checked: the number of bytes against what the server announced; that all parts of a resumed download
    are of one file (a strong ETag, or else the date of the last change; without either it starts anew); on every
    later call the sha256 against that of the first download, which `<path>.json` records. That the first download is
    what the publisher meant, nothing but TLS says. A file that was put at `path` by hand is taken as it is.

    Args:
        path: the parts of an unfinished download lie beside it.
        verify: compare the sha256 of a file that is there with the recorded one.

    Raises:
        ConnectionError: the server cannot be reached, does not have the file or breaks off; a later call goes on.
        ValueError: the file is not the one that was downloaded.
        OSError: `path` cannot be written.
    """
    record = _beside(path, ".json")
    if not (path.is_file() and record.is_file()):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(path, ".lock")):
            if not path.is_file():  # else another process downloaded it while this one waited
                partial = _beside(path, ".partial")
                found = _receive(url, partial)
                write_json(record, {"url": url, **found, "sha256": file_checksum(partial)})
                os.replace(partial, path)
                _beside(partial, ".json").unlink(missing_ok=True)
            elif not record.is_file():
                write_json(record, {"url": None, "bytes": path.stat().st_size, "sha256": file_checksum(path)})
    sha256 = json.loads(record.read_text())["sha256"]
    if verify and file_checksum(path) != sha256:
        raise ValueError(f"{path} is not what was downloaded: delete it and {record.name}, and run again")
    return sha256


def _receive(url: str, partial: Path) -> dict[str, Any]:
    """Bring `partial` to its full length in as many requests as it takes; says what the server said of the file."""
    failures = 0
    with _progress(url) as (bar, task):
        while True:
            before = _size(partial)
            try:
                return _request(url, partial, bar, task)
            except requests.RequestException as error:
                failures = 1 if _size(partial) > before else failures + 1
                if failures == ATTEMPTS:
                    raise ConnectionError(f"{url} cannot be downloaded: {_line(error)}") from error
                time.sleep(PAUSE * 2 ** (failures - 1))


def _request(url: str, partial: Path, bar: Progress, task: TaskID) -> dict[str, Any]:
    state = _beside(partial, ".json")
    found = json.loads(state.read_text()) if state.is_file() else {}
    validator = _validator(found)
    # The last byte is asked for again: a range that begins at the end of a file is none.
    start = max(_size(partial) - 1, 0) if validator else 0
    headers = {"Accept-Encoding": "identity"}  # of compressed bytes, neither length nor range would fit the file
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        status, answer = response.status_code, response.headers
        if status in BUSY:
            raise requests.RequestException(f"the server answers {status} {response.reason}")
        if status == 416:  # what is there is longer than the file
            partial.unlink()
            raise requests.RequestException("the server has no such part")
        if status not in (200, 206):
            raise ConnectionError(f"{url} cannot be downloaded: the server answers {status} {response.reason}")
        if status == 200:  # the whole file, for the first time or because it has changed
            start, length = 0, answer.get("Content-Length")
            found = {"etag": answer.get("ETag"), "last_modified": answer.get("Last-Modified")}
            found["bytes"] = None if length is None else int(length)
            write_json(state, found)
        elif not answer.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise ConnectionError(
                f"{url} cannot be downloaded: the server answers with another part than was asked for"
            )
        bar.update(task, total=found["bytes"], completed=start)
        with partial.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(task, advance=len(chunk))
    if found["bytes"] not in (None, _size(partial)):
        raise requests.RequestException(f"{_size(partial)} bytes of {found['bytes']} came")
    return {**found, "bytes": _size(partial)}


def _validator(found: dict[str, Any]) -> str | None:
    """What says that a part is of the file that the server has now (RFC 9110, section 13.1.5)."""
    if etag := found.get("etag"):
        return None if etag.startswith("W/") else etag
    return found.get("last_modified")


@contextmanager
def _progress(title: str) -> Iterator[tuple[Progress, TaskID]]:
    """A moving line in a terminal, one plain line at the end elsewhere, on the standard error stream."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield bar, task
    console.print(f"{title}: {bar.tasks[0].completed / 1e6:,.1f} MB downloaded", markup=False)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _line(error: requests.RequestException) -> str:
    """What is wrong, in one line of bearable length, without the calls that it went through."""
    reason = getattr(next(iter(error.args), None), "reason", None) or error
    text = " ".join(str(reason).split())
    return (text.partition("): ")[2] or text)[:300] or type(error).__name__
