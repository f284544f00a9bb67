"""The network of a folder's `config.json`."""

from collections.abc import Mapping
from typing import Any

from hcexp.configuration import instantiate
from hcexp.model import LanguageModel


def build(model: Mapping[str, Any], residual: Mapping[str, Any]) -> LanguageModel:
    """The network that these two sections of a run's configuration make, on torch's default device.

    Raises ValueError for a class that nobody has trusted: a folder may come from anywhere.
    """
    return instantiate(model, residual=instantiate(residual))
