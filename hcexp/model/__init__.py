"""Networks built of sublayers, blind to the residual mode that they carry."""

from hcexp.model.language import LanguageModel

__all__ = ["LanguageModel"]
