"""Networks built of sublayers, blind to the residual mode that they carry."""

from hcexp.model.feed_forward import FeedForward
from hcexp.model.language import LanguageModel
from hcexp.model.transformer import Transformer

__all__ = ["FeedForward", "LanguageModel", "Transformer"]
