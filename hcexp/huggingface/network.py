"""The network of a folder's `config.json`."""

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from hcexp.configuration import instantiate
from hcexp.model import LanguageModel


def build(model: Mapping[str, Any], residual: Mapping[str, Any]) -> LanguageModel:
    """The network that these two sections of a run's configuration make, on torch's default device.

    Raises ValueError for a class that nobody has trusted: a folder may come from anywhere.
    """
    sections = OmegaConf.create({"model": dict(model), "residual": dict(residual)})
    return instantiate(sections.model, residual=instantiate(sections.residual))
