"""Tasks of lm-evaluation-harness in files, and models that know their answers, or nothing."""

import json

import pytest
import torch
import yaml
from torch import nn

from hcexp.data import TextTokenizer

EXAMPLES = [
    {"question": "The stone lies in the", "answers": [" river", " old king", " light of the morning"], "right": 0},
    {"question": "The king walks", "answers": [" under the old light", " stone"], "right": 1},
    {"question": "In the morning", "answers": [" light", " river", " king", " stone"], "right": 2},
]
ASKED = {"doc_to_text": "{{question}}", "doc_to_target": "{{answers[right]}}"}
TASKS = {
    "choices": ASKED | {"doc_to_choice": "{{answers}}", "target_delimiter": "", "doc_to_target": "right"},
    "whole": {"doc_to_text": "", "doc_to_target": "{{question}}{{answers[right]}}"},
    "last": ASKED,
    "written": ASKED | {"generation_kwargs": {"until": ["."], "max_gen_toks": 8}},
    "drawn": ASKED | {"generation_kwargs": {"until": ["."], "do_sample": True, "temperature": 0.7}},
}
KINDS = {
    "choices": ("multiple_choice", "acc"),
    "whole": ("loglikelihood_rolling", "word_perplexity", "byte_perplexity", "bits_per_byte"),
    "last": ("loglikelihood", "perplexity", "acc"),
    "written": ("generate_until", "exact_match"),
    "drawn": ("generate_until", "exact_match"),
}


def text(example):
    return example["question"] + example["answers"][example["right"]]


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    """A folder with a YAML file for each task, and the examples."""
    pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install 'hcexp[eval]'")
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "examples.jsonl").write_text("".join(json.dumps(example) + "\n" for example in EXAMPLES))
    data = {"data_files": {"test": str(folder / "examples.jsonl")}, "cache_dir": str(folder / "cache")}
    common = {"dataset_path": "json", "dataset_kwargs": data, "test_split": "test"}
    for name, (kind, *metrics) in KINDS.items():
        about = {"task": name, "output_type": kind, "metric_list": [{"metric": metric} for metric in metrics]}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**common, **about, **TASKS[name]}))
    return folder


class Known(nn.Module):
    """Gives every next token of the texts that it knows all but all probability, after any beginning of them.

    Of other tokens, and where it knows no text, all are as likely. `passes` are the tokens that it was given.
    """

    def __init__(self, tokenizer: TextTokenizer, texts: list[str] = (), vocabulary: int = 4224):
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(()))
        self.vocabulary, self.eos_id, self.passes = vocabulary, tokenizer.eos_id, []
        self.texts = [ids.tolist() + [tokenizer.eos_id] for ids in tokenizer.encode(texts)]

    def forward(self, tokens):
        self.passes.append(tokens)
        logits = torch.zeros(*tokens.shape, self.vocabulary)
        for row, read in enumerate(tokens.tolist()):
            for end in range(1, len(read) + 1):
                begun = read[1:end] if read[0] == self.eos_id else read[:end]
                for known in self.texts:
                    if known[: len(begun)] == begun and len(known) > len(begun):
                        logits[row, end - 1, known[len(begun)]] = 50.0
        return logits
