"""The network of a folder's `config.json`."""

from collections.abc import Iterator, Mapping
from typing import Any

from hydra.utils import instantiate

from hcexp.model import LanguageModel


def build(model: Mapping[str, Any], residual: Mapping[str, Any]) -> LanguageModel:
    """The network that these two sections of a run's configuration make, on torch's default device.

    Raises ValueError if they name anything to call outside of this package: a folder may come from anywhere.
    """
    for target in (*_targets(model), *_targets(residual)):
        if not str(target).startswith("hcexp."):
            raise ValueError(f"_target_={target} in config.json is not allowed: it must be in hcexp")
    return instantiate(dict(model), residual=instantiate(dict(residual)))


def _targets(section: Any) -> Iterator[Any]:
    if isinstance(section, Mapping):
        if "_target_" in section:
            yield section["_target_"]
        section = list(section.values())
    if isinstance(section, list | tuple):
        for part in section:
            yield from _targets(part)
