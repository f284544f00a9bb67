import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hcexp.evaluation import Downstream
from tests.evaluation.two_processes import Bigram, prepared


@pytest.fixture
def downstream(tokenizer):
    """Makes tasks that are ready to be scored."""

    def make(*names, **knobs):
        downstream = Downstream(names, **knobs)
        downstream.prepare(tokenizer, 256)
        return downstream

    return make


class Recording(nn.Module):
    """A bigram model with a dropout, which remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.model, self.dropout = Bigram(), nn.Dropout(0.5)
        self.texts = []

    def forward(self, tokens):
        self.texts += tokens.tolist()
        assert not torch.is_grad_enabled()
        return self.dropout(self.model(tokens))


def test_metrics_have_the_agreed_names(downstream):
    tasks = downstream("copa", "mrpc", documents=10)
    scored = {label: tasks.score(Bigram(), label) for label in tasks.labels}
    metrics = tasks.metrics(scored)
    assert metrics.keys() == {
        *(f"downstream/copa/{key}" for key in ("accuracy", "bits_per_byte")),
        *(f"downstream/mrpc/{key}" for key in ("accuracy", "bits_per_byte", "f1")),
        *(f"downstream/mean/{key}" for key in ("accuracy", "bits_per_byte")),
    }
    assert metrics["downstream/copa/accuracy"] == scored["copa"]["accuracy"]
    assert metrics["downstream/mean/accuracy"] == scored["copa"]["accuracy"]  # mrpc is volatile


def test_the_loop_measures_what_one_call_measures(downstream):
    tasks, model = downstream("copa", "winogrande", documents=25), Bigram()
    scores = tasks.scores()
    with torch.no_grad():
        for loader, score in zip(tasks.dataloaders(), scores, strict=True):
            for batch in loader:
                score.update(batch, model(batch.inputs))
    assert tasks.results(scores) == tasks.metrics({label: tasks.score(model, label) for label in tasks.labels})


def test_the_mean_is_that_of_table_15():
    tasks = Downstream("paper")
    assert len(tasks.names) == len(tasks.labels) == 11
    scored = {label: {"accuracy": i / 10, "bits_per_byte": 1.0} for i, label in enumerate(tasks.labels)}
    scored["mrpc"]["f1"] = 0.5
    metrics = tasks.metrics(scored)
    columns = ("arc_easy", "copa", "hellaswag", "openbook_qa", "piqa", "sciq", "winogrande")
    assert metrics["downstream/mean/accuracy"] == pytest.approx(sum(scored[c]["accuracy"] for c in columns) / 7)
    assert metrics["downstream/mrpc/accuracy"] == scored["mrpc"]["accuracy"]
    assert "downstream/mean/f1" not in metrics


def test_mmlu_is_one_task_of_four():
    tasks = Downstream("paper_moe")
    assert len(tasks.names) == 12 and len(tasks.labels) == 15
    scored = {label: {"accuracy": 0.5} for label in tasks.labels}
    for i, label in enumerate(label for label in tasks.labels if label.startswith("mmlu")):
        scored[label]["accuracy"] = i / 10
    metrics = tasks.metrics(scored)
    assert metrics["downstream/mmlu_stem_var/accuracy"] == 0
    assert metrics["downstream/mmlu/accuracy"] == pytest.approx(0.15)
    assert metrics["downstream/mean/accuracy"] == pytest.approx((11 * 0.5 + 0.15) / 12)


def test_a_task_and_its_group_are_scored_once():
    assert Downstream(["mmlu", "mmlu_stem_var"]).labels == Downstream(["mmlu"]).labels


def test_where_no_task_counts_there_is_no_mean():
    assert Downstream(["sst2"]).metrics({"sst2": {"accuracy": 1.0}}) == {"downstream/sst2/accuracy": 1.0}
    assert Downstream().metrics({}) == {}


def test_tasks_without_a_choice_do_not_count_in_the_mean_accuracy():
    scored = {"copa": {"accuracy": 0.5, "bits_per_byte": 1.0}, "arc_easy_rc_5shot_bpb": {"bits_per_byte": 3.0}}
    metrics = Downstream(list(scored)).metrics(scored)
    assert metrics["downstream/mean/accuracy"] == 0.5 and metrics["downstream/mean/bits_per_byte"] == 2


def test_the_model_is_left_as_it_was(downstream):
    tasks, model = downstream("copa", documents=5), Recording()
    model.train()
    model.model.eval()
    before = torch.get_rng_state()
    first, second = tasks.score(model, "copa"), tasks.score(model, "copa")
    assert first == second  # no dropout
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model.modules()] == [True, False, False, True]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_model_that_fails_is_left_as_it_was(downstream):
    class Failing(nn.Module):
        def forward(self, tokens):
            raise RuntimeError("out of memory")

    model = Failing()
    with pytest.raises(RuntimeError, match="out of memory"):
        downstream("copa", documents=2).score(model, "copa")
    assert model.training


def test_a_budget_reads_the_first_documents(downstream, tokenizer):
    model = Recording()
    downstream("copa", documents=3).score(model, "copa")
    texts = [tokenizer.decode([i for i in text if i != tokenizer.eos_id]) for text in model.texts]
    assert len({text.split(" because")[0].split(" therefore")[0] for text in texts}) == 3 and len(texts) == 6


def test_batches_have_the_tokens_of_so_many_sequences(downstream):
    for size in (1, 4):
        batches = list(downstream("winogrande", documents=200, batch_size=size).dataloader("winogrande"))
        assert max(batch.inputs.numel() for batch in batches) <= 256 * size
        assert len(batches) > 1


def test_two_processes_score_like_one(tmp_path):
    """Their last batches are uneven."""
    alone = prepared()
    assert len(alone.dataloader("copa").batches) % 2
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.evaluation.two_processes", str(tmp_path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert results == [alone.score(Bigram(), "copa")] * 2


def test_the_fingerprint_knows_tasks_and_budget():
    prints = [
        Downstream().fingerprint,
        Downstream(["copa"]).fingerprint,
        Downstream(["copa"], documents=5).fingerprint,
        Downstream("paper").fingerprint,
        Downstream("paper_moe").fingerprint,
    ]
    assert len(set(prints)) == 5
    assert Downstream(["copa"], batch_size=2).fingerprint == prints[1]


def test_tasks_need_to_be_prepared():
    with pytest.raises(RuntimeError, match="call prepare"):
        Downstream(["copa"]).dataloaders()


@pytest.mark.parametrize("knob", ["documents", "batch_size"])
def test_knobs_that_are_not_allowed(knob):
    with pytest.raises(ValueError, match=rf"^downstream\.{knob}=0: allowed is at least 1$"):
        Downstream(["copa"], **{knob: 0})
