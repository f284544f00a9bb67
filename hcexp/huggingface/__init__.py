"""Hugging Face in and out: a trained model as a folder that `transformers` loads, and OLMo weights to start from.

Neither needs `transformers` itself, which only whoever loads such a folder has; `pretrained.py` is for them.
"""

from hcexp.huggingface.folder import export
from hcexp.huggingface.initial import OlmoWeights

__all__ = ["OlmoWeights", "export"]
