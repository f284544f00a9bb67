"""What the verbs' command lines have in common."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# Words that looked like overrides, and are options now.
FLAGS = {"measure": "--measure", "harness": "--harness TASKS", "sweep.tuned": "--tuned SEARCH"}
TUNED = {"metavar": "SEARCH", "help": "rows take what a search found for them: its name, or the file that it wrote"}


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
    parser: argparse.ArgumentParser, arguments: Sequence[str], words: Mapping[str, str | None] | None = None
) -> argparse.Namespace:
    """Parse the arguments; those without a `=` are no overrides but the verb's own `words`.

    There may be as many as `words` has names, and each is set under its name, with the default that stands there.
    """
    chosen, words = parser.parse_intermixed_args(arguments), words or {}
    given = [argument for argument in chosen.overrides if not is_override(argument)]
    if len(given) > len(words):
        parser.error(f"{given[len(words)]} is no override: write knob=value")
    chosen.overrides = [argument for argument in chosen.overrides if is_override(argument)]
    require_flags(parser, chosen.overrides)
    for name, word in {**words, **dict(zip(words, given, strict=False))}.items():
        setattr(chosen, name, word)
    return chosen


def is_override(argument: str) -> bool:
    return "=" in argument or argument.startswith("~")


def require_flags(parser: argparse.ArgumentParser, overrides: Sequence[str]) -> None:
    """Raise ValueError for an override that is an option of this verb now."""
    for override in overrides:
        flag = FLAGS.get(override.partition("=")[0].lstrip("+"), "")
        if flag.partition(" ")[0] in parser._option_string_actions:
            parser.error(f"{override} is no override: write {flag}")


def add_sweep(to: argparse.ArgumentParser) -> None:
    """The options that name a sweep's points."""
    to.usage = "%(prog)s [SWEEP] [--scale SCALE] [--seeds SEEDS] [options] [OVERRIDE ...]"
    to.epilog = "SWEEP is a name in sweeps/ or a YAML file of your own (default: quick)."
    to.add_argument("--scale", default="tiny", help="a name in conf/scale (default: tiny)")
    to.add_argument("--seeds", type=seeds, help="how many (3: seeds 0, 1, 2) or which (0,7); default: the sweep's own")
    to.add_argument("--tuned", **TUNED)
    add_overrides(to)


def parse_sweep(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of a verb with `add_sweep`; `sweep` is the word that names it."""
    chosen = parse(parser, arguments, {"sweep": "quick"})
    for override in chosen.overrides:
        option = {"scale": "--scale", "seed": "--seeds"}.get(override.partition("=")[0].lstrip("+"))
        if option:
            parser.error(f"{override} cannot be an override of a whole sweep: use {option}")
    return chosen


def sweep_command(chosen: argparse.Namespace, seeds: Sequence[int]) -> list[str]:
    """The arguments with which another process has the same points; a password of the tracking server is none."""
    from hcexp.configuration import shareable

    which = ",".join(map(str, seeds)) + ("," if len(seeds) == 1 else "")
    tuned = ["--tuned", chosen.tuned] if chosen.tuned else []
    return [chosen.sweep, "--scale", chosen.scale, "--seeds", which, *tuned, *shareable(chosen.overrides)]


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
