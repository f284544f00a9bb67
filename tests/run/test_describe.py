import pytest

from hcexp.configuration import compose
from hcexp.run.describe import decay, labels, quick_look, repeated, told_apart


def composed(runs):
    return [compose(["paths.cache=x", *overrides.split()]) for overrides in runs]


@pytest.mark.parametrize(
    ("runs", "steps", "called"),
    [
        (["seed=0", "seed=1 paths.runs=elsewhere tracking=none"], [250] * 2, ["pre_norm", "pre_norm"]),
        (["residual=dhc", "residual=dhc residual.n=2", "residual=shc"], [250] * 3, ["dhc n=4", "dhc n=2", "shc n=4"]),
        (
            ["residual=dhc", "residual=dhc residual.tanh=false", "seed=1"],
            [250] * 3,
            ["dhc n=4, tanh=True", "dhc n=4, tanh=False", "pre_norm"],
        ),
        (["", ""], [100, 250], ["pre_norm, step=100", "pre_norm, step=250"]),
    ],
)
def test_a_run_is_called_by_its_mode_and_what_that_does_not_tell_apart(runs, steps, called):
    assert labels(composed(runs), steps) == called


CODES, FOLDERS, NONE = ["code 1", "code 2", "code 1", "code 1"], ["in a", "in b", "in b", "in b"], [""] * 4
OF_A_SEED = ["seed=0", "seed=0", "seed=1", "residual=shc"]


@pytest.mark.parametrize(
    ("runs", "codes", "folders", "called"),
    [
        (
            ["seed=0", "seed=1", "seed=0 data.seed=5", "seed=0 residual=shc"],
            *(NONE, NONE),
            ["pre_norm", "pre_norm", "pre_norm, data.seed=5", "shc n=4"],
        ),
        (["data.seed=5", "seed=1"], NONE, NONE, ["pre_norm"] * 2),  # they are of two seeds already
        (OF_A_SEED, CODES, NONE, ["pre_norm, code 1", "pre_norm, code 2", "pre_norm, code 1", "shc n=4"]),
        (OF_A_SEED, NONE, FOLDERS, ["pre_norm, in a", "pre_norm, in b", "pre_norm, in b", "shc n=4"]),
        (OF_A_SEED[:2], CODES, FOLDERS, ["pre_norm, code 1", "pre_norm, code 2"]),
    ],
)
def test_runs_of_one_seed_are_told_apart(runs, codes, folders, called):
    configs, count = composed(runs), len(runs)
    assert told_apart(labels(configs, [250] * count), configs, codes[:count], folders[:count]) == called


def test_what_cannot_be_told_apart_is_found():
    assert repeated(["a", "a", "b", "a"], [0, 1, 0, 1]) == [1, 3] and repeated(["a", "a", "b"], [0, 1, 0]) == []


def test_a_decayed_schedule_is_named_and_one_that_stays_is_not():
    constant, cosine = composed(["schedule=constant", ""])
    assert (decay(constant), decay(cosine), decay({})) == ("", "cosine to 10 %", "")


@pytest.mark.parametrize(
    ("knobs", "look"),
    [
        ("evaluation.max_tokens=null", ""),
        ("evaluation.documents=20 evaluation.max_tokens=null", "the first 20 documents a set"),
        (
            "evaluation.documents=20 evaluation.max_tokens=200 downstream.tasks=[copa]",
            "the first 20 documents a set and task, the first 200 tokens a set",
        ),
        ("evaluation.max_tokens=null downstream.documents=5 downstream.tasks=[copa]", "the first 5 documents a task"),
    ],
)
def test_a_quick_look_is_said_to_be_one(knobs, look):
    (config,) = composed([knobs])
    benchmarks = ["corpus", *(["downstream"] if config.downstream.tasks else [])]
    assert quick_look(config, benchmarks) == (look and f"a quick look: {look}")
