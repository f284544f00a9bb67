"""What names a run, and what does not."""

import json
import shutil

import pytest
from omegaconf import open_dict

from hcexp.configuration import compose
from hcexp.data import corpus
from hcexp.run import identity
from hcexp.run.identity import effective, hashed
from hcexp.run.run import Run
from tests.registered import MODES

# Of every knob of a residual mode that is a word, another word.
OTHER = {"sum": "mean", "alternating": "fixed", "recycled": "widened", "block": "sublayer"}


# What cannot change a result, all at once.
BLIND = (
    *("paths.runs=elsewhere", "paths.cache=elsewhere", "tracking=mlflow", "++tracking.run_name='a name'"),
    *("data.workers=2", "data.verify=false", "evaluation.batch_size=3", "model.activation_checkpointing=true"),
    *("callbacks.progress.seconds=1", "callbacks.checkpoint.every_n_steps=2"),
)


def test_identity_is_blind_to_what_cannot_change_a_result_and_to_the_order_of_overrides(make_run):
    given = ("residual=dhc", "residual.n=2", "seed=3")
    assert make_run(*given).identity == make_run(*reversed(given), *BLIND).identity


def test_identity_differs_in_whatever_can_change_a_result(make_run):
    knobs = "optimizer.lr=1e-3 steps=7 data.max_tokens=1000 evaluation.max_tokens=100 objective.z_loss=1e-3".split()
    changes = [*knobs, "seed=0", "seed=1", "trainer.precision=bf16-mixed", "compile=true", "residual=shc"]
    assert len({make_run(change).identity for change in changes}) == len(changes)


@pytest.mark.parametrize("mode", MODES)
def test_identity_differs_in_every_residual_knob(mode):
    base = compose([f"residual={mode}"])
    knobs, identities = [knob for knob in base.residual if not knob.startswith("_")], {hashed(effective(base))}
    for knob in knobs:
        changed, value = base.copy(), base.residual[knob]
        changed.residual[knob] = not value if isinstance(value, bool) else OTHER.get(value) or value + 1
        identities.add(hashed(effective(changed)))
    assert len(identities) == 1 + len(knobs)


def test_identity_goes_by_the_content_of_files_not_their_place(make_run, texts, tmp_path):
    plain = make_run().identity
    copies = {"data.files": "train.txt", "evaluation.files": "held.txt", "data.tokenizer": "tokenizer.json"}
    for name, source in (("train.txt", texts), ("held.txt", texts), ("tokenizer.json", corpus.TOKENIZER.parent)):
        shutil.copy(source / name, tmp_path / name)
    moved = [f"{knob}={tmp_path / name}" for knob, name in copies.items()]
    assert make_run(*moved).identity == plain
    other = json.loads(corpus.TOKENIZER.read_text())
    other["model"]["merges"].pop()
    for name in copies.values():
        path = tmp_path / name
        content = path.read_text()
        path.write_text(json.dumps(other) if name == "tokenizer.json" else "other text " * 100)
        assert make_run(*moved).identity != plain, name
        path.write_text(content)


def test_so_does_that_of_token_files_and_of_a_mixture_which_knows_its_weights_too(minute, texts, tmp_path):
    def identity(*choices):
        group = choices[0].partition("=")[0]
        own = [override for override in minute if not override.startswith(group) or "files" not in override]
        return Run(compose([*own, *choices])).identity

    def of_tokens(place, tokens):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "a.npy").write_bytes(bytes(tokens))
        sets = ["~evaluation.sets", "+evaluation.sets={a: a.npy}", f"evaluation.source={tmp_path}/{place}"]
        return identity("evaluation=v3", *sets)

    def of_mixture(file, weight):
        mixture = f"{{a: {{files: {file}, weight: {weight}}}, b: {{files: {texts}/held.txt, weight: 1}}}}"
        return identity("data=mixture", f"data.mixture={mixture}")

    assert of_tokens("here", range(60)) == of_tokens("there", range(60)) != of_tokens("there", range(62))
    train, copy = texts / "train.txt", shutil.copy(texts / "train.txt", tmp_path / "elsewhere.txt")
    assert of_mixture(train, 2) == of_mixture(copy, 2) != of_mixture(copy, 3)


def name(*overrides):
    return hashed(effective(compose(overrides)))


def test_a_class_that_is_moved_or_a_knob_that_is_added_at_its_neutral_value_changes_no_name(monkeypatch):
    config = compose(["residual=dhc", "scale=1b", "trainer=fsdp"])
    before = hashed(effective(config))
    moved = config.copy()
    for section in (moved.residual, moved.model, moved.optimizer, moved.trainer.strategy, moved.callbacks.curves):
        section._target_ = "hcexp.elsewhere.Renamed"
    assert hashed(effective(moved)) == before
    monkeypatch.setitem(identity.NEUTRAL, "model.bias", False)
    monkeypatch.setitem(identity.NEUTRAL, "nowhere.at.all", None)
    with open_dict(config):
        for bias, as_before in ((False, True), (True, False)):
            config.model.bias = bias
            assert (hashed(effective(config)) == before) is as_before


def test_a_class_that_an_override_gives_changes_the_name():
    """Where a choice names the class, its address does not count; where nothing else does, it must."""
    assert len({name(), name("residual=post_norm"), name("residual._target_=tests.PreNorm")}) == 3
    mine = "+callbacks.mine={{_target_: {}, every: 3}}"
    assert len({name(), name(mine.format("tests.One")), name(mine.format("tests.Other"))}) == 3
    assert name("callbacks.progress._target_=tests.Bar", "++callbacks.pruning={_target_: tests.b}") == name()


def test_where_the_data_are_not_at_hand_a_run_is_known_by_what_it_recorded(make_run, runs, trained):
    """As a folder of runs that was copied to a laptop, of which a report is to be made."""
    elsewhere = make_run("data.files=gone.txt")
    assert elsewhere.identity == trained.pre_norm.identity and elsewhere.result() == trained.pre_norm.result()
    with pytest.raises(FileNotFoundError, match="gone.txt"):
        _ = make_run("data.files=gone.txt", "seed=7").identity


# Names that are given for good. A change here would make every finished run a missing one, to be trained again: a knob
# that is new declares in `hcexp.run.identity.NEUTRAL` the value at which everything is as before. `python -m
# tests.run.test_identity` prints what the names are now.
GOLDEN = {
    "residual=pre_norm": "9fe30c14518fec03",
    "residual=post_norm scale=20m": "e9f41a8ac61156b7",
    "residual=parallel scale=60m seed=3": "9fb872594b3761a1",
    "residual=two_hop scale=150m": "5e20005269adbccf",
    "residual=resi_dual scale=300m": "38fe0c423e4646d5",
    "residual=altup residual.n=4 scale=1b": "e64b57d95a04ab79",
    "residual=shc residual.train_wc=false": "d9a34c7d795e7d0e",
    "residual=shc residual.n=2 scale=7b trainer=fsdp": "7f9ebf9f022644d8",
    "residual=dhc scale=1b": "6669ff672f7de900",
    "residual=dhc residual.n=8 residual.tanh=false scale=7b": "cf7a2f7687cbfde6",
    "residual=dhc model.init=normal model/feed_forward=swiglu model.inner=96 optimizer.lr=1e-3": "35867b672b2cfcb9",
    "residual=dhc steps=10 schedule.warmup=2 compile=true trainer.precision=bf16-mixed trainer=ddp": "4c655732af6abb93",
}


def test_a_name_lasts():
    assert {overrides: name(*overrides.split()) for overrides in GOLDEN} == GOLDEN


if __name__ == "__main__":
    for overrides in GOLDEN:
        print(f'    "{overrides}": "{name(*overrides.split())}",')
