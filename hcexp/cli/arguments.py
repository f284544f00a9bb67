"""What the verbs' command lines have in common."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that raises ValueError, so that `main` reports its errors like all others."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


class UnknownRun(argparse.ArgumentTypeError, ValueError):
    """Of a word that names no run; argparse reports it as it is, and so does whoever takes it for a ValueError."""


def parser(verb: str, doc: str) -> Parser:
    """A parser whose help is the verb's docstring."""
    return Parser(prog=f"hcexp {verb}", description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_overrides(to: argparse.ArgumentParser) -> None:
    """Take Hydra overrides among the options, in any order."""
    to.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="Hydra overrides, such as residual.n=4")


def parse(
    parser: argparse.ArgumentParser, arguments: Sequence[str], *, words: Sequence[str] = ()
) -> argparse.Namespace:
    """Parse the arguments; those without a `=` are no overrides but the verb's own `words`.

    There may be as many as `words` has names, and each is set under its name, None if it is not given.
    """
    chosen = parser.parse_intermixed_args(arguments)
    given = [argument for argument in chosen.overrides if "=" not in argument and not argument.startswith("~")]
    if len(given) > len(words):
        parser.error(f"{given[len(words)]} is no override: write knob=value")
    chosen.overrides = [argument for argument in chosen.overrides if argument not in given]
    for name, word in zip(words, [*given, *[None] * len(words)], strict=False):
        setattr(chosen, name, word)
    return chosen


def add_sweep(to: argparse.ArgumentParser) -> None:
    """The options that name a sweep's points."""
    to.usage = "%(prog)s [SWEEP] [--scale SCALE] [--seeds SEEDS] [options] [OVERRIDE ...]"
    to.epilog = "SWEEP is a name in sweeps/ or a YAML file of your own (default: quick)."
    to.add_argument("--scale", default="tiny", help="a name in conf/scale (default: tiny)")
    to.add_argument("--seeds", type=seeds, help="how many (3: seeds 0, 1, 2) or which (0,7); default: the sweep's own")
    add_overrides(to)


def seeds(text: str) -> tuple[int, ...]:
    """`3` is (0, 1, 2); `0,7` is (0, 7); `7,` is (7,)."""
    try:
        numbers = [int(part) for part in text.split(",") if part]
    except ValueError:
        numbers = []
    chosen = tuple(numbers) if "," in text else tuple(range(numbers[0])) if numbers else ()
    if not chosen or min(chosen) < 0 or len(set(chosen)) < len(chosen):
        raise argparse.ArgumentTypeError(f"--seeds={text}: give how many (3), or different ones of 0 or more (0,1,7)")
    return chosen


def run_folder(word: str) -> Path:
    """The folder of a run: its path, or how the name of one among the runs begins, as `hcexp runs` prints it.

    A path is taken as it is: whoever reads the folder says what is wrong with it.
    """
    if Path(word).exists() or len(Path(word).parts) != 1:
        return Path(word)
    from hcexp.configuration import compose  # takes a while
    from hcexp.run.folder import find_run

    try:
        return find_run(word, Path(compose().paths.runs)).path
    except (FileNotFoundError, ValueError) as error:
        raise UnknownRun(str(error)) from None


def whole(text: str) -> int:
    """A whole number, 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a whole number, 1 or more")
    return int(text)
