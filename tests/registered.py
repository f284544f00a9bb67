"""Every residual mode and its settings, as they are registered in `conf/residual/`: a new mode joins by its YAML."""

from functools import cache, partial

from hydra.utils import instantiate
from omegaconf import DictConfig

from hcexp.configuration import compose, shipped

MODES = sorted(path.stem for path in (shipped("conf") / "residual").glob("*.yaml"))
RATES = (1, 2, 3, 4)  # modes with an expansion rate are tried with odd and even ones
# Every switch of a mode is tried the other way round; of its words, these.
WORDS = {
    "altup": ["residual.active=fixed", "residual.embedding=widened", "residual.per=sublayer"],
    "dhc": ["residual.reduce=mean"],
    "shc": ["residual.reduce=mean"],
}


# Modes of the tests alone, with what no shipped mode has yet: streams that grow in number, channels read one by one.
OF_THE_TESTS = (("residual._target_=tests.model.history.Dense",), ("residual._target_=tests.model.gated.Gated",))


@cache
def composed(*overrides: str) -> DictConfig:
    return compose(overrides).residual


def residual(*overrides: str) -> partial:
    """What makes the residual stream that these overrides choose."""
    return instantiate(composed(*overrides))


def has_rate(mode: str) -> bool:
    return "n" in residual(f"residual={mode}").keywords


def settings() -> list[tuple[str, ...]]:
    """Overrides for every mode with every rate, and for each of its options."""
    found = []
    for mode in MODES:
        rates = [(f"residual.n={n}",) for n in RATES] if has_rate(mode) else [()]
        found += [(f"residual={mode}", *rate) for rate in rates]
        switches = [
            f"residual.{knob}={str(not value).lower()}"
            for knob, value in residual(f"residual={mode}").keywords.items()
            if isinstance(value, bool)
        ]
        found += [(f"residual={mode}", *rates[-2:][0], option) for option in (*switches, *WORDS.get(mode, ()))]
    return [*found, *OF_THE_TESTS]


def label(overrides: tuple[str, ...]) -> str:
    return ",".join(
        override.partition("=")[2].rpartition(".")[2] if "_target_" in override else override.split("residual")[1][1:]
        for override in overrides
    )
