"""The shipped corpus: public-domain text in four domains, a held-out set for each, and a tokenizer.

`README.md` says where it comes from; `build.py` made it.
"""

from pathlib import Path

_FOLDER = Path(__file__).parent

TRAIN = _FOLDER / "train"
VALIDATION = _FOLDER / "validation"
TOKENIZER = _FOLDER / "tokenizer.json"

__all__ = ["TOKENIZER", "TRAIN", "VALIDATION"]
