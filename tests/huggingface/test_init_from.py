"""`init_from` as a knob of a run: its identity, its first step, and going on."""

import shutil

import pytest

from tests.huggingface.conftest import Trained
from tests.run.test_run import assert_same, weights

FITTING = {"vocab_size": 4096, "intermediate_size": 32, "num_attention_heads": 2}  # the minute network's


def test_identity_goes_by_the_weights_not_their_place(make_run, olmo, tmp_path):
    _, unfit = olmo()
    with pytest.raises(ValueError, match="^model.heads=2, but init_from=.* has 4: set model.heads=4$"):
        make_run(f"init_from={unfit}").check()
    assert not (tmp_path / "runs").exists()
    _, folder = olmo("fits", **FITTING)
    _, other = olmo("other", seed=1, **FITTING)
    shutil.copytree(folder, tmp_path / "moved")
    identities = [make_run(f"init_from={of}").identity for of in (folder, tmp_path / "moved", other)]
    assert identities[0] == identities[1] and len({*identities, make_run().identity}) == 3


def test_training_goes_on_from_what_was_trained_and_exported(make_run, trained, tmp_path):
    exported = Trained(**trained.pre_norm.config.model)
    exported.network.load_state_dict({n.removeprefix("model."): w for n, w in weights(trained.pre_norm).items()})
    exported.export(tmp_path / "out")
    before = trained.pre_norm.result()["metrics"]["local/mean/loss"]
    run = make_run("residual=dhc", "steps=2", "optimizer.lr=1e-9", "seed=1", f"init_from={tmp_path}/out")
    assert run.train()["metrics"]["local/mean/loss"] == pytest.approx(before, rel=1e-4)


def test_a_run_that_goes_on_takes_its_checkpoint_not_the_first_weights(make_run, olmo, tmp_path, interrupt):
    _, folder = olmo(**FITTING)
    knobs = [f"init_from={folder}", "residual=dhc", "callbacks.checkpoint.every_n_steps=2", "steps=4"]
    calm = make_run(*knobs, f"paths.runs={tmp_path}/calm")
    calm.train()
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        make_run(*knobs).train()
    interrupt(None)
    run = make_run(*knobs)
    run.train()
    assert_same(weights(run), weights(calm))
