"""A run in a process of its own, forked from a server that has imported everything: that takes longer than a short run.

The server is multiprocessing's. It is a clean process: no threads of ours, no GPU, none of the driver's memory.
"""

import atexit
import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

from hcexp.run.lock import INHERITED, RunLock

PRELOAD = ["hcexp.study.launch", "mlflow", "mlflow.store.tracking.sqlalchemy_store", "git"]  # what runs import
LOST = 255  # multiprocessing's word for the end of a process whose server is gone: it may run on


class Launched(NamedTuple):
    """A process that waits for a word before it begins; it ends by itself if nobody is left to say it."""

    process: ForkServerProcess
    go: Connection


def launch(arguments: Sequence[str], log: Path, lock: RunLock, environment: Mapping[str, str]) -> Launched:
    """A process that is to run `hcexp train ARGUMENTS` in this environment and writes its output to `log`.

    It has the run's lock as long as it lives, and leads a process group: a signal to the group is for all processes of
    its run, and Ctrl-C in the driver's terminal is not. Raises OSError if the server cannot be started.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    ready, go = context.Pipe(duplex=False)
    process = context.Process(target=_train, args=(list(arguments), log, lock, dict(environment), ready))
    before, main = dict(os.environ), sys.modules["__main__"]
    os.environ.update(environment)  # for the server, if it is started now: its libraries count their threads early
    sys.modules["__main__"] = ModuleType("__main__")  # or else the process would begin by importing the driver's
    try:
        process.start()
    except (EOFError, ConnectionError):
        raise OSError("the server that runs are forked from has died: the same command goes on with another") from None
    finally:
        sys.modules["__main__"] = main
        os.environ.clear()
        os.environ.update(before)
        ready.close()
    return Launched(process, go)


def _train(arguments: list[str], log: Path, lock: RunLock, environment: dict[str, str], ready: Connection) -> None:
    os.setpgrp()
    try:
        ready.recv()
    except EOFError:
        return
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(output, stream.fileno())
        stream.reconfigure(line_buffering=True)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment, **{INHERITED: str(lock.fileno())})
    torch.set_num_threads(int(environment["OMP_NUM_THREADS"]))
    sys.argv = ["hcexp", "train", *arguments]
    try:
        # As `python -m hcexp` would: from __main__ Lightning knows how to start the other processes of a run.
        runpy.run_module("hcexp", run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()  # the server leaves its children without
