"""Where the text of a run comes from: one source, or several in one stream, each with its share of the tokens."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from hcexp.data.text.hub import HubSource
from hcexp.data.text.local import LocalSource
from hcexp.data.text.source import Source
from hcexp.disk.checksum import checksum


class Mixture:
    """Documents of several sources, taken in turn so that each has its share of the tokens.

    The next document is of the source that is furthest behind its share. One that runs out is left out from then on:
    the others keep their proportions, and nothing is read twice.

    Args:
        sources: their names, with the arguments of `LocalSource` or `HubSource` and a positive `weight`; weights need
            not sum to 1.
        cache: see `LocalSource`.

    Raises ValueError for no source, or one without a weight, with a bad weight or bad arguments.
    """

    def __init__(self, sources: Mapping[str, Mapping[str, Any]], cache: str | Path | None = None):
        if not isinstance(sources, Mapping) or not sources:
            raise ValueError(f"data.mixture={sources!r}: give names of sources, each with files or hub, and a weight")
        self.weighted: dict[str, tuple[float, Source]] = {
            name: _weighted(name, arguments, cache) for name, arguments in sources.items()
        }

    def __str__(self) -> str:
        return f"mixture of {', '.join(self.weighted)}"

    @cached_property
    def checksum(self) -> str:
        """Of the sources' contents, and of their names and weights in their order."""
        contents = []
        for name, (weight, source) in self.weighted.items():
            with _named(name):
                contents.append((name, weight, source.checksum))
        return checksum("mixture", contents)


def make_source(knobs: Mapping[str, Any], cache: str | Path | None = None) -> Source | Mixture:
    """The source that `files`, `hub` or `mixture`, and what goes with it, stand for; None counts as not given.

    Raises ValueError unless it is one of the three, and for a knob that does not go with it or has a bad value.
    """
    given = {name: value for name, value in knobs.items() if value is not None}
    kinds = {"files": (LocalSource, {"cache": cache}), "hub": (HubSource, {}), "mixture": (Mixture, {"cache": cache})}
    chosen = [name for name in kinds if name in given]
    if len(chosen) != 1:
        what = " and ".join(f"{name}={given[name]!r}" for name in chosen) or "none of them"
        raise ValueError(f"give one of files, hub and mixture, not {what}")
    (kind,) = chosen
    make, more = kinds[kind]
    _, *others = inspect.signature(make).parameters
    for name, value in given.items():
        if name != kind and (name == "cache" or name not in others):
            raise ValueError(f"{name}={value!r} does not go with {kind}={given[kind]!r}")
    return make(given.pop(kind), **given, **more)


def _weighted(name: str, arguments: Mapping[str, Any], cache: str | Path | None) -> tuple[float, Source]:
    knob = f"data.mixture.{name}"
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{knob}={arguments!r}: give files or hub, and a weight")
    arguments = dict(arguments)
    weight = arguments.pop("weight", None)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise ValueError(f"{knob}.weight={weight}: allowed is a number greater than 0")
    with _named(name):
        if "mixture" in arguments:
            raise ValueError("a mixture within a mixture: give files or hub")
        return float(weight), make_source(arguments, cache)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the source's name before what it raises."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"data.mixture.{name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"data.mixture.{name}: {error}") from error
