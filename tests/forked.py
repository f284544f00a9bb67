"""Command lines of ours in processes of their own, forked from that of the tests: what they import is there."""

import atexit
import os
import signal
import sys
import warnings
from functools import partial
from multiprocessing import forkserver, get_context, util


class Forked:
    """`hcexp` with these arguments, writing into a log; it is waited for and killed like a process of subprocess."""

    def __init__(self, arguments, log):
        log.write_text("")
        self.process = get_context("fork").Process(target=_run, args=([str(a) for a in arguments], log))
        self.process.start()
        self.pid, self.kill, self.said = self.process.pid, self.process.kill, log.read_text

    @property
    def returncode(self):
        return self.process.exitcode

    def poll(self):
        return self.process.exitcode

    def send_signal(self, signum):
        os.kill(self.pid, signum)

    def wait(self, timeout=60):
        self.process.join(timeout)
        assert self.process.exitcode is not None, f"still there after {timeout} s: {self.said()}"
        return self.process.exitcode


def _run(arguments, log):
    from hcexp.cli import main

    output = os.open(log, os.O_WRONLY | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout, sys.stderr = (open(descriptor, "w", buffering=1, closefd=False) for descriptor in (1, 2))
    warnings.showwarning = lambda message, *_, **__: print(message, file=sys.stderr)  # pytest only keeps them
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a script starts in the background ignores Ctrl-C
    forkserver._forkserver.__init__()  # its runs have a server of their own, which dies with it
    if "tracking=none" in arguments:  # no fork can use the database that this process has opened
        util.spawnv_passfds = partial(_fork_server, util.spawnv_passfds)
    sys.exit(main(arguments))


def _fork_server(spawn, path, arguments, passed):
    """Start the server of a command's runs as a fork, with the signals and descriptors of a new process."""
    if "forkserver" not in arguments[-1]:
        return spawn(path, arguments, passed)
    if pid := os.fork():
        return pid
    atexit._clear()
    for signum in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_DFL)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor > 2 and descriptor not in passed:
            try:
                os.close(descriptor)
            except OSError:  # that of the listing itself
                pass
    try:
        exec(arguments[-1], {})
    finally:
        os._exit(1)
