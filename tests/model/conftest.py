import pytest

from hcexp.model import LanguageModel
from tests.registered import MODES, has_rate, residual

RESIDUAL = {mode: residual(f"residual={mode}", *(["residual.n=3"] if has_rate(mode) else [])) for mode in MODES}

SIZES = {"d": 32, "layers": 3, "heads": 4, "inner": 48, "vocabulary_size": 100, "pad_vocabulary_to": 1}


@pytest.fixture
def small():
    """Makes a small model of a residual mode, its weights drawn from a seed."""

    def make(residual="pre_norm", seed=0, **knobs):
        model = LanguageModel(RESIDUAL.get(residual, residual), **{**SIZES, **knobs})
        model.reset_parameters(seed)
        return model

    return make
