import logging

import pytest

from hcexp.cli import main


@pytest.fixture(autouse=True)
def loud():
    """`quiet` is for processes of our own: what it silences is heard again in the next test."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def hcexp(capsys):
    """Runs a command line: (exit status, standard output, standard error)."""

    def call(*arguments):
        capsys.readouterr()
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as stop:  # argparse's own
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


@pytest.fixture
def refused(hcexp):
    """Runs a command line that must be refused in one line; gives that line without its beginning."""

    def call(*arguments):
        status, out, err = hcexp(*arguments)
        lines = [line for line in err.splitlines() if not line.startswith("tokens of ")]
        assert len(lines) == 1 and lines[0].startswith("hcexp: error: "), err
        assert status == 2
        return lines[0].removeprefix("hcexp: error: ")

    return call
