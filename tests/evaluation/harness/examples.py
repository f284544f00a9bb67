"""Tasks of lm-evaluation-harness in files, and models that know their answers, or nothing."""

import json

import pytest
import torch
from torch import nn

from hcexp.data import TextTokenizer

EXAMPLES = [
    {"question": "The stone lies in the", "answers": [" river", " old king", " light of the morning"], "right": 0},
    {"question": "The king walks", "answers": [" under the old light", " stone"], "right": 1},
    {"question": "In the morning", "answers": [" light", " river", " king", " stone"], "right": 2},
]
ASKED = 'doc_to_text: "{{question}}"\ndoc_to_target: "{{answers[right]}}"'
TASKS = {
    "choices": """output_type: multiple_choice
        doc_to_text: "{{question}}"
        doc_to_choice: "{{answers}}"
        target_delimiter: ""
        doc_to_target: right
        metric_list: [{metric: acc}]""",
    "whole": """output_type: loglikelihood_rolling
        doc_to_text: ""
        doc_to_target: "{{question}}{{answers[right]}}"
        metric_list: [{metric: word_perplexity}, {metric: byte_perplexity}, {metric: bits_per_byte}]""",
    "last": f"""output_type: loglikelihood
        {ASKED}
        metric_list: [{{metric: perplexity}}, {{metric: acc}}]""",
    "written": f"""output_type: generate_until
        {ASKED}
        generation_kwargs: {{until: ["."], max_gen_toks: 8}}
        metric_list: [{{metric: exact_match}}]""",
    "drawn": f"""output_type: generate_until
        {ASKED}
        generation_kwargs: {{until: ["."], do_sample: true, temperature: 0.7}}
        metric_list: [{{metric: exact_match}}]""",
}


def text(example):
    return example["question"] + example["answers"][example["right"]]


@pytest.fixture(scope="session")
def tasks(tmp_path_factory):
    """A folder with a YAML file for each task, and the examples."""
    pytest.importorskip("lm_eval", reason="lm_eval is not installed: pip install 'hcexp[eval]'")
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "examples.jsonl").write_text("".join(json.dumps(example) + "\n" for example in EXAMPLES))
    for name, lines in TASKS.items():
        data = {"data_files": {"test": str(folder / "examples.jsonl")}, "cache_dir": str(folder / "cache")}
        head = f"task: {name}\ndataset_path: json\ndataset_kwargs: {json.dumps(data)}\ntest_split: test\n"
        (folder / f"{name}.yaml").write_text(head + "\n".join(line.strip() for line in lines.splitlines()))
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
