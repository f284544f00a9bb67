import pytest
import torch

from hcexp.evaluation import Downstream


def test_the_mean_is_that_of_table_15_of_what_counts_and_mmlu_is_one_task_of_four():
    def metrics(tasks, **others):
        scored = {part: {"accuracy": i / 10, "bits_per_byte": 1.0} for i, part in enumerate(tasks.parts)}
        found = tasks.metrics({**scored, **others})
        assert found.keys() >= {f"downstream/{part}/{key}" for part in tasks.parts for key in scored[part]}
        return {part: row["accuracy"] for part, row in scored.items()}, found

    columns = ("arc_easy", "copa", "hellaswag", "openbook_qa", "piqa", "sciq", "winogrande")
    scored, found = metrics(Downstream("paper"), mrpc={"accuracy": 0.7, "bits_per_byte": 1.0, "f1": 0.5})
    assert found["downstream/mean/accuracy"] == pytest.approx(sum(scored[column] for column in columns) / 7)
    assert found["downstream/mrpc/accuracy"] == 0.7 and found["downstream/mrpc/f1"] == 0.5
    assert "downstream/mean/f1" not in found  # it is volatile

    scored, found = metrics(Downstream("paper_moe"))
    mmlu = [scored.pop(part) for part in list(scored) if part.startswith("mmlu")]
    assert len(mmlu) == 4 and len(scored) == 11
    assert found["downstream/mmlu/accuracy"] == pytest.approx(sum(mmlu) / 4)
    assert found["downstream/mean/accuracy"] == pytest.approx((sum(scored.values()) + sum(mmlu) / 4) / 12)
    assert Downstream(["mmlu", "mmlu_stem_var"]).parts == Downstream(["mmlu"]).parts  # scored once

    assert Downstream(["sst2"]).metrics({"sst2": {"accuracy": 1.0}}) == {"downstream/sst2/accuracy": 1.0}
    assert Downstream().metrics({}) == {}
    scored = {"copa": {"accuracy": 0.5, "bits_per_byte": 1.0}, "arc_easy_rc_5shot_bpb": {"bits_per_byte": 3.0}}
    found = Downstream(list(scored)).metrics(scored)  # one has no choice, and so no accuracy
    assert found["downstream/mean/accuracy"] == 0.5 and found["downstream/mean/bits_per_byte"] == 2


def test_a_budget_bounds_the_documents_and_batches_have_the_tokens_of_so_many_sequences(data):
    for size in (1, 4):
        tasks = Downstream(["copa"], documents=70, batch_size=size)
        with pytest.raises(RuntimeError, match="call prepare"):
            tasks.loaders()
        tasks.prepare(data(256))
        batches = list(tasks.loader("copa"))
        assert len(batches) > 1 and 256 * (size - 1) < max(batch.inputs.numel() for batch in batches) <= 256 * size
        assert torch.cat([batch.cells for batch in batches]).unique().tolist() == list(range(2 * 70))


def test_the_fingerprint_knows_tasks_and_budget_and_these_are_checked():
    made = [Downstream(), Downstream(["copa"]), Downstream(["copa"], documents=5), Downstream("paper")]
    assert len({tasks.fingerprint for tasks in (*made, Downstream("paper_moe"))}) == 5
    assert len({tasks.fingerprint_of(part) for tasks in made[1:3] for part in ("copa", "piqa")}) == 4
    assert Downstream(["copa"], batch_size=2).fingerprint == made[1].fingerprint
    for knob in ("documents", "batch_size"):
        with pytest.raises(ValueError, match=rf"^downstream\.{knob}=0: allowed is at least 1$"):
            Downstream(["copa"], **{knob: 0})
