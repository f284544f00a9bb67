"""Several sources of documents in one stream, each with its share of the tokens."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from hcexp.data.text.source import TextSource
from hcexp.disk.checksum import checksum


class Mixture:
    """Documents of several sources, taken in turn so that each has its share of the tokens.

    The next document is of the source that is furthest behind its share. One that runs out is left out from then on:
    the others keep their proportions, and nothing is read twice.

    Args:
        sources: their names, with the arguments of `TextSource` and a positive `weight`; weights need not sum to 1.

    Raises:
        ValueError: no source, or one without a weight, with a bad weight or bad arguments.
    """

    def __init__(self, sources: Mapping[str, Mapping[str, Any]]):
        if not isinstance(sources, Mapping) or not sources:
            raise ValueError(f"data.mixture={sources!r}: give names of sources, each with files or hub, and a weight")
        self.weights: dict[str, float] = {}
        self.sources: dict[str, TextSource] = {}
        for name, arguments in sources.items():
            self.weights[name], self.sources[name] = _source(name, arguments)

    def __str__(self) -> str:
        return f"mixture of {', '.join(self.sources)}"

    @cached_property
    def checksum(self) -> str:
        """Of the sources' contents, and of their names and weights in their order."""
        return checksum(
            "mixture", [(name, self.weights[name], source.checksum) for name, source in self.sources.items()]
        )


def _source(name: str, arguments: Mapping[str, Any]) -> tuple[float, TextSource]:
    knob = f"data.mixture.{name}"
    if not isinstance(arguments, Mapping):
        raise ValueError(f"{knob}={arguments!r}: give files or hub, and a weight")
    arguments = dict(arguments)
    weight = arguments.pop("weight", None)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise ValueError(f"{knob}.weight={weight}: allowed is a number greater than 0")
    try:
        return float(weight), TextSource(**arguments)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{knob}: {error}") from error
    except (ValueError, TypeError) as error:  # a TypeError names an argument that there is not
        raise ValueError(f"{knob}: {error}") from error
