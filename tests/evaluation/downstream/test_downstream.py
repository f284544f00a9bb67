import json

import pytest
import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing import start_processes

from hcexp.evaluation import Downstream
from tests.evaluation.models import Bigram


@pytest.fixture
def downstream(data):
    """Makes tasks that are ready to be scored."""

    def make(*names, **knobs):
        downstream = Downstream(names, **knobs)
        downstream.prepare(data(256))
        return downstream

    return make


@pytest.fixture(scope="module")
def model():
    return Bigram().eval()


def test_the_loop_measures_what_one_call_measures_under_the_agreed_names(downstream, model):
    tasks = downstream("copa", "mrpc", documents=10)
    scored = {part: tasks.score(model, part) for part in tasks.parts}
    metrics, meters = tasks.metrics(scored), tasks.meters()
    assert metrics.keys() == {
        *(f"downstream/copa/{key}" for key in ("accuracy", "bits_per_byte")),
        *(f"downstream/mrpc/{key}" for key in ("accuracy", "bits_per_byte", "f1")),
        *(f"downstream/mean/{key}" for key in ("accuracy", "bits_per_byte")),
    }
    assert metrics["downstream/mean/accuracy"] == scored["copa"]["accuracy"]  # mrpc is volatile
    with torch.no_grad():
        for loader, meter in zip(tasks.loaders(), meters, strict=True):
            assert meter.varying_shapes
            for batch in loader:
                meter.update(model, batch)
    assert scored == {part: meter.results() for part, meter in zip(tasks.parts, meters, strict=True)}


def test_the_mean_is_that_of_table_15():
    tasks = Downstream("paper")
    assert len(tasks.names) == len(tasks.parts) == 11
    scored = {part: {"accuracy": i / 10, "bits_per_byte": 1.0} for i, part in enumerate(tasks.parts)}
    scored["mrpc"]["f1"] = 0.5
    metrics = tasks.metrics(scored)
    columns = ("arc_easy", "copa", "hellaswag", "openbook_qa", "piqa", "sciq", "winogrande")
    assert metrics["downstream/mean/accuracy"] == pytest.approx(sum(scored[c]["accuracy"] for c in columns) / 7)
    assert metrics["downstream/mrpc/accuracy"] == scored["mrpc"]["accuracy"]
    assert "downstream/mean/f1" not in metrics


def test_mmlu_is_one_task_of_four():
    tasks = Downstream("paper_moe")
    assert len(tasks.names) == 12 and len(tasks.parts) == 15
    scored = {part: {"accuracy": 0.5} for part in tasks.parts}
    for i, part in enumerate(part for part in tasks.parts if part.startswith("mmlu")):
        scored[part]["accuracy"] = i / 10
    metrics = tasks.metrics(scored)
    assert metrics["downstream/mmlu_stem_var/accuracy"] == 0
    assert metrics["downstream/mmlu/accuracy"] == pytest.approx(0.15)
    assert metrics["downstream/mean/accuracy"] == pytest.approx((11 * 0.5 + 0.15) / 12)
    assert Downstream(["mmlu", "mmlu_stem_var"]).parts == Downstream(["mmlu"]).parts  # scored once


def test_the_mean_is_of_what_counts():
    assert Downstream(["sst2"]).metrics({"sst2": {"accuracy": 1.0}}) == {"downstream/sst2/accuracy": 1.0}
    assert Downstream().metrics({}) == {}
    scored = {"copa": {"accuracy": 0.5, "bits_per_byte": 1.0}, "arc_easy_rc_5shot_bpb": {"bits_per_byte": 3.0}}
    metrics = Downstream(list(scored)).metrics(scored)  # one has no choice, and so no accuracy
    assert metrics["downstream/mean/accuracy"] == 0.5 and metrics["downstream/mean/bits_per_byte"] == 2


def test_a_budget_reads_the_first_documents(downstream, tokenizer):
    class Recording(nn.Module):
        texts = []

        def forward(self, tokens):
            self.texts += [tokenizer.decode([i for i in text if i != tokenizer.eos_id]) for text in tokens.tolist()]
            return torch.zeros(*tokens.shape, 4096)

    downstream("copa", documents=3).score(Recording(), "copa")
    texts = Recording.texts
    assert len({text.split(" because")[0].split(" therefore")[0] for text in texts}) == 3 and len(texts) == 6


def test_batches_have_the_tokens_of_so_many_sequences(downstream):
    for size in (1, 4):
        batches = list(downstream("winogrande", documents=200, batch_size=size).loader("winogrande"))
        assert max(batch.inputs.numel() for batch in batches) <= 256 * size
        assert len(batches) > 1


def _share(rank, tasks, model, folder):
    init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    meter = tasks.meter("copa")
    with torch.no_grad():
        for batch in tasks.loader("copa", rank, 2):
            meter.update(model, batch)
    (folder / f"{rank}.json").write_text(json.dumps(meter.results()))
    destroy_process_group()


def test_two_processes_score_like_one(downstream, model, tmp_path):
    """Their last batches are uneven."""
    tasks = downstream("copa", documents=70, batch_size=1)
    assert len(tasks.loader("copa").batches) % 2
    start_processes(_share, (tasks, model, tmp_path), nprocs=2, start_method="fork")
    results = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1)]
    assert results == [tasks.score(model, "copa")] * 2


def test_the_fingerprint_knows_tasks_and_budget():
    made = [Downstream(), Downstream(["copa"]), Downstream(["copa"], documents=5), Downstream("paper")]
    assert len({tasks.fingerprint for tasks in (*made, Downstream("paper_moe"))}) == 5
    assert len({tasks.fingerprint_of(part) for tasks in made[1:3] for part in ("copa", "piqa")}) == 4
    assert Downstream(["copa"], batch_size=2).fingerprint == made[1].fingerprint


def test_what_is_not_ready_or_not_allowed_says_so():
    with pytest.raises(RuntimeError, match="call prepare"):
        Downstream(["copa"]).loaders()
    for knob in ("documents", "batch_size"):
        with pytest.raises(ValueError, match=rf"^downstream\.{knob}=0: allowed is at least 1$"):
            Downstream(["copa"], **{knob: 0})
