"""YAML files that somebody else may have written: they hold data, and no code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unicodedata import category

import yaml

CODE = re.compile(r"_target_|\$\{[^}]*(:|\$\{)")  # what Hydra would import and call, and OmegaConf's resolvers


def read_yaml(path: Path) -> Any:
    """The content of a file; raises OSError, or ValueError in one line for what is not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"not YAML: {' '.join(str(error).split())}") from None


def check_data(where: str, content: Any) -> None:
    """Raise ValueError if a text in `content`, at any depth, names code or would control a terminal."""
    for text in _texts(content):
        if CODE.search(text):
            raise ValueError(f"{where}: {text!r:.100} names code, and the file holds data: no _target_ and no ${{…:…}}")
        if has_controls(text.translate({9: None, 10: None})):
            raise ValueError(f"{where}: {text!r:.100} has a control character, which is not allowed")


def has_controls(text: str) -> bool:
    return any(category(character) == "Cc" for character in text)


def _texts(content: Any) -> Iterator[str]:
    """All texts in it, keys among them; each list and mapping once, for an alias may stand in itself."""
    left, seen = [content], set()
    while left:
        each = left.pop()
        if isinstance(each, str):
            yield each
        elif isinstance(each, dict | list) and id(each) not in seen:
            seen.add(id(each))
            left += [*each, *each.values()] if isinstance(each, dict) else each
