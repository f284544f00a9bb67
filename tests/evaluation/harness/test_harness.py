"""Tasks of lm-evaluation-harness, read from files, scored on models whose probabilities are known."""

import math

import pytest
import torch
from torch import nn

from hcexp.data import TextTokenizer
from hcexp.evaluation.harness.harness import harness_scores
from tests.evaluation.harness.examples import EXAMPLES, Known, Uniform, text


@pytest.fixture
def score(tasks, tokenizer):
    def score(model, *names, sequence_length=64, **options):
        return harness_scores(model, tokenizer, names, sequence_length=sequence_length, folder=tasks, **options)

    return score


class Random(nn.Module):
    """A causal model that reads all that came before."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.embedding = nn.Parameter(torch.randn(4224, 16, generator=generator))
        self.unembedding = nn.Parameter(torch.randn(16, 4224, generator=generator))

    def forward(self, tokens):
        return self.embedding[tokens].cumsum(1).sin() @ self.unembedding


def test_who_knows_the_answers_has_them_all_right_and_who_knows_others_none(score, tokenizer):
    found = score(Known(tokenizer, [text(example) for example in EXAMPLES]), "choices", "last", "written", "whole")
    assert found["harness/choices/acc"] == 1
    assert found["harness/last/acc"] == 1 and found["harness/last/perplexity"] == pytest.approx(1)
    assert found["harness/written/exact_match"] == 1
    # Two ways to begin a text, and two to go on after "The", are equally probable: a bit for each.
    size = sum(len(text(example).encode()) for example in EXAMPLES)
    assert found["harness/whole/bits_per_byte"] == pytest.approx((3 + 2) / size)

    wrong = [{**example, "right": (example["right"] + 1) % len(example["answers"])} for example in EXAMPLES]
    found = score(Known(tokenizer, [text(example) for example in wrong]), "choices", "last", "written")
    assert found["harness/choices/acc"] == found["harness/last/acc"] == found["harness/written/exact_match"] == 0


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary(score, tokenizer):
    found = score(Uniform(), "whole", "last")
    texts = [text(example) for example in EXAMPLES]
    tokens, size = sum(map(len, tokenizer.encode(texts))), sum(len(one.encode()) for one in texts)
    assert found["harness/whole/bits_per_byte"] == pytest.approx(tokens * math.log2(4224) / size)
    answers = [example["answers"][example["right"]] for example in EXAMPLES]
    nats = math.log(4224) * sum(map(len, tokenizer.encode(answers))) / len(answers)
    assert found["harness/last/perplexity"] == pytest.approx(math.exp(nats))


@pytest.mark.parametrize("batch_size", [2, 16])
def test_scores_do_not_depend_on_the_batch_and_are_those_of_each_text_alone(score, tokenizer, batch_size):
    model = Random()
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
    size = sum(len(text(example).encode()) for example in EXAMPLES)
    assert found["harness/whole/bits_per_byte"] == pytest.approx(-whole / math.log(2) / size, rel=1e-4)


def test_writing_ends_at_a_stop_string_or_the_limit(score, tokenizer):
    passes = []

    class Counting(Known):
        def forward(self, tokens):
            passes.append(tokens.shape)
            return super().forward(tokens)

    stopped = [text(example) + ". And so on" for example in EXAMPLES]
    assert score(Counting(tokenizer, stopped), "written")["harness/written/exact_match"] == 1
    passes.clear()
    endless = [text(example) + " and" * 20 for example in EXAMPLES]
    assert score(Counting(tokenizer, endless), "written")["harness/written/exact_match"] == 0
    assert len(passes) == 8
    passes.clear()
    score(Counting(tokenizer, endless), "written", sequence_length=5)
    assert max(length for _, length in passes) == 5


def test_what_is_longer_than_the_model_reads(score, tokenizer):
    """A text comes in windows, every token counted once; a continuation is not cut."""
    whole, last = score(Uniform(), "whole", "last"), score(Uniform(), "whole", "last", sequence_length=3)
    assert last == pytest.approx(whole)
    alone = score(Uniform(), "last", sequence_length=1)
    assert alone == pytest.approx({name: whole[name] for name in alone})
    found = score(Known(tokenizer, [text(example) for example in EXAMPLES]), "whole", sequence_length=3)
    assert found["harness/whole/bits_per_byte"] > 0.1  # windows after the first do not begin as a known text


def test_one_token_answers_to_a_question_share_a_row(score, tokenizer):
    rows = []

    class Counting(Uniform):
        def forward(self, tokens):
            rows.append(len(tokens))
            return super().forward(tokens)

    score(Counting(), "choices")
    ids = [[next(tokenizer.encode([answer])).tolist() for answer in example["answers"]] for example in EXAMPLES]
    longer = [sum(len(answer) > 1 for answer in answers) for answers in ids]
    short = [any(len(answer) == 1 for answer in answers) for answers in ids]
    assert sum(rows) == sum(longer) + sum(short) < sum(map(len, ids))


def test_a_quick_look_takes_the_first_documents(score, tokenizer):
    model = Known(tokenizer, [text(EXAMPLES[0])])
    assert score(model, "last", documents=1)["harness/last/acc"] == 1
    assert score(model, "last")["harness/last/acc"] == pytest.approx(1 / 3)


def test_examples_come_before_the_question(score, tokenizer):
    seen = []

    class Reading(Uniform):
        def forward(self, tokens):
            seen.extend(tokenizer.decode(row) for row in tokens.tolist())
            return super().forward(tokens)

    score(Reading(), "last", documents=1)
    assert all(row.count("king") == 0 for row in seen)
    seen.clear()
    score(Reading(), "last", documents=1, shots=2)
    assert all(row.count("\n\n") == 2 and "The stone lies in the" in row.split("\n\n")[-1] for row in seen)


def test_a_network_of_ours_and_its_folder_are_scored_alike(score, tmp_path, tokenizer):
    """What the harness writes with our network is what `transformers` writes with the exported one."""
    from transformers import AutoModelForCausalLM

    from tests.huggingface.conftest import Trained

    trained = Trained(vocabulary_size=4096)
    trained.export(tmp_path / "out")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = exported

        def forward(self, tokens):
            return self.model(tokens).logits

    names = ("choices", "last", "whole")
    assert score(trained.network, *names) == pytest.approx(score(Logits(), *names), rel=1e-4)


def test_what_cannot_be_asked_is_named(score):
    with pytest.raises(ValueError, match="this task draws random tokens"):
        score(Uniform(), "drawn")
    for name, least in {"documents": 1, "shots": 0, "batch_size": 1, "sequence_length": 1}.items():
        with pytest.raises(ValueError, match=f"^{name}={least - 1}: allowed is at least {least}"):
            score(Uniform(), "last", **{name: least - 1})


@pytest.mark.slow  # reads the whole list of the harness
def test_an_unknown_task_is_answered_with_the_nearest(score):
    with pytest.raises(ValueError, match="lm_eval has no task 'choises', did you mean choices"):
        score(Uniform(), "choises")


def test_without_lm_eval_one_line_names_the_extra(monkeypatch):
    monkeypatch.setattr("hcexp.evaluation.harness.harness.find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"^harness needs lm_eval, which is not installed: pip install 'hcexp\[eval\]'$"
    ):
        harness_scores(Uniform(), TextTokenizer(), ["piqa"], sequence_length=8)
