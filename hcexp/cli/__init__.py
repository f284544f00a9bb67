"""The command line: one verb a file, each with a docstring that is its help and a `main(arguments)`.

Verbs are imported when they are called, so that `--help` is quick.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

VERBS = {
    "train": "train one run, or with -m a grid of them",
    "sweep": "measure a table of the paper, or search: run what is missing, then report",
    "report": "paper beside measured, from the runs there are",
    "evaluate": "measure trained runs on validation sets and downstream tasks",
    "analyse": "draw what trained runs do: connection matrices, similarity, curves, convergence",
    "cost": "parameters, FLOPs, memory of residual modes; on a cluster (--gpu); with --measure their speed",
    "prepare": "tokenise the training text and the validation sets",
    "export": "write a run's model as a folder for Hugging Face's transformers",
    "runs": "list the runs that there are: mode, state, loss, tokens per second",
    "compare": "show in what runs differ: configuration, code, final metrics",
    "ui": "serve MLflow's pages on this machine",
}
# Verbs that there were, and what does the same now.
GONE = {"bench": "hcexp cost --measure compile=false,true"}

USAGE = """hcexp: the bench on which residual connections are compared.

usage: hcexp VERB [OPTIONS] [OVERRIDES]

{verbs}

`hcexp VERB --help` says more. Overrides are Hydra's: residual=dhc residual.n=4 scale=tiny optimizer.lr=1e-3.
An error is one line; HCEXP_TRACEBACK=1 shows where it came from."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status is 0, or 1 if runs of a sweep failed, or 2 with one line that says why."""
    verb, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if verb in ("-h", "--help"):
        print(USAGE.format(verbs="\n".join(f"  {name:8} {what}" for name, what in VERBS.items())))
        return 0
    if verb == "--version":
        from hcexp import __version__

        print(f"hcexp {__version__}")
        return 0
    from hcexp.cli.errors import explain
    from hcexp.cli.quiet import quiet
    from hcexp.configuration import nearest, trusting

    if verb not in VERBS:
        instead = f": write {GONE[verb]}" if verb in GONE else nearest(verb, VERBS)
        print(f"hcexp: error: unknown verb {verb}{instead}", file=sys.stderr)
        return 2
    try:
        with trusting(rest):
            quiet()
            return import_module(f"hcexp.cli.{verb}").main(rest) or 0
    except KeyboardInterrupt:
        print("hcexp: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except Exception as error:
        line = explain(error, rest)
        if line is None or os.environ.get("HCEXP_TRACEBACK"):
            traceback.print_exc()
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        print(f"hcexp: error: {line or error}{notes}", file=sys.stderr)
        return 2
