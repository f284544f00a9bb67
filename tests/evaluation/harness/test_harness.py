"""Tasks of lm-evaluation-harness, read from files, scored on models whose probabilities are known."""

import math

import pytest
import torch
from torch import nn

from hcexp.evaluation.harness.harness import harness_scores
from tests.evaluation.harness.examples import EXAMPLES, Known, text
from tests.huggingface.conftest import Trained

TEXTS = [text(example) for example in EXAMPLES]
BYTES = sum(len(text.encode()) for text in TEXTS)


@pytest.fixture
def score(tasks, tokenizer):
    def score(model, *names, sequence_length=64, **options):
        return harness_scores(model, tokenizer, names, sequence_length=sequence_length, folder=tasks, **options)

    return score


def test_who_knows_the_answers_has_them_all_right_and_who_knows_others_none(score, tokenizer):
    found = score(Known(tokenizer, TEXTS), "choices", "last", "written", "whole")
    assert found["harness/choices/acc"] == found["harness/written/exact_match"] == found["harness/last/acc"] == 1
    assert found["harness/last/perplexity"] == pytest.approx(1)
    # Two ways to begin a text, and two to go on after "The", are equally probable: a bit for each.
    assert found["harness/whole/bits_per_byte"] == pytest.approx((3 + 2) / BYTES)

    wrong = [text({**example, "right": (example["right"] + 1) % len(example["answers"])}) for example in EXAMPLES]
    found = score(Known(tokenizer, wrong), "choices", "last", "written")
    assert found["harness/choices/acc"] == found["harness/last/acc"] == found["harness/written/exact_match"] == 0


@pytest.mark.parametrize("batch_size", [2, 16])
def test_scores_do_not_depend_on_the_batch_and_are_those_of_each_text_alone(score, model, tokenizer, batch_size):
    found = score(model, "last", "whole", "choices", batch_size=batch_size)

    @torch.no_grad()
    def nats(context, continuation):
        tokens = torch.tensor([context + continuation])
        predicted = model(tokens)[0, len(context) - 1 : -1].log_softmax(-1)
        return predicted.gather(-1, tokens[0, len(context) :, None]).sum().item()

    def ids(string):
        return next(tokenizer.encode([string])).tolist()

    answers, right, whole = [], 0, 0.0
    for example in EXAMPLES:
        likelihoods = [nats(ids(example["question"]), ids(answer)) for answer in example["answers"]]
        answers.append(likelihoods[example["right"]])
        right += max(range(len(likelihoods)), key=likelihoods.__getitem__) == example["right"]
        whole += nats([tokenizer.eos_id], ids(text(example)))
    assert found["harness/last/perplexity"] == pytest.approx(math.exp(-sum(answers) / 3), rel=1e-4)
    assert found["harness/choices/acc"] == pytest.approx(right / 3)
    assert found["harness/whole/bits_per_byte"] == pytest.approx(-whole / math.log(2) / BYTES, rel=1e-4)


def test_writing_ends_at_a_stop_string_or_the_limit(score, tokenizer):
    assert score(Known(tokenizer, [f"{text}. And" for text in TEXTS]), "written")["harness/written/exact_match"] == 1
    endless = Known(tokenizer, [text + " and" * 20 for text in TEXTS])
    assert score(endless, "written")["harness/written/exact_match"] == 0
    assert len(endless.passes) == 8
    score(endless, "written", sequence_length=5)
    assert max(tokens.shape[1] for tokens in endless.passes[8:]) == 5


def test_what_is_longer_than_the_model_reads(score, tokenizer):
    """A text comes in windows, every token counted once; a continuation is not cut."""
    uniform = Known(tokenizer)
    whole, last = score(uniform, "whole", "last"), score(uniform, "whole", "last", sequence_length=3)
    assert last == pytest.approx(whole)
    alone = score(uniform, "last", sequence_length=1)
    assert alone == pytest.approx({name: whole[name] for name in alone})
    found = score(Known(tokenizer, TEXTS), "whole", sequence_length=3)
    assert found["harness/whole/bits_per_byte"] > 0.1  # windows after the first do not begin as a known text


def test_one_token_answers_to_a_question_share_a_row(score, tokenizer):
    uniform = Known(tokenizer)
    score(uniform, "choices")
    lengths = [[len(ids) for ids in tokenizer.encode(example["answers"])] for example in EXAMPLES]
    rows = sum(sum(length > 1 for length in answers) + (1 in answers) for answers in lengths)
    assert sum(map(len, uniform.passes)) == rows < sum(map(len, lengths))


def test_a_quick_look_takes_the_first_documents_and_examples_come_before_the_question(score, tokenizer):
    for shots, before in ((None, 0), (2, 2)):
        model = Known(tokenizer, [TEXTS[0]])
        assert score(model, "last", documents=1, shots=shots)["harness/last/acc"] == (not shots)
        for row in (tokenizer.decode(row) for tokens in model.passes for row in tokens.tolist()):
            *examples, question = row.split("\n\n")
            assert len(examples) == before and question.startswith("The stone lies in the")
    assert score(model, "last")["harness/last/acc"] == pytest.approx(1 / 3)


def test_a_network_of_ours_and_its_folder_are_scored_alike(score, tmp_path):
    """What the harness reads in our network is what it reads in the exported one, by `transformers`."""
    from transformers import AutoModelForCausalLM

    trained = Trained(vocabulary_size=4096)
    trained.export(tmp_path / "out")

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()

        def forward(self, tokens):
            return self.model(tokens).logits

    names = ("choices", "last", "whole")
    assert score(trained.network, *names) == pytest.approx(score(Logits(), *names), rel=1e-4)


def test_what_cannot_be_asked_is_named(score, tokenizer):
    with pytest.raises(ValueError, match="this task draws random tokens"):
        score(Known(tokenizer), "drawn")
    for name, least in {"documents": 1, "shots": 0, "batch_size": 1, "sequence_length": 1}.items():
        with pytest.raises(ValueError, match=f"^{name}={least - 1}: allowed is at least {least}"):
            score(Known(tokenizer), "last", **{name: least - 1})


@pytest.mark.slow  # reads the whole list of the harness
def test_an_unknown_task_is_answered_with_the_nearest(score, tokenizer):
    with pytest.raises(ValueError, match="lm_eval has no task 'choises', did you mean choices"):
        score(Known(tokenizer), "choises")
