import shutil

import pytest
import torch
from torch.distributed import checkpoint as distributed

from hcexp.callbacks import latest
from hcexp.configuration import compose
from hcexp.run.run import Run

KNOBS = ["callbacks.checkpoint.every_n_steps=4"]


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def trained(minute):
    """Trains a minute run of a residual mode: its folder, and a network with the weights of a step."""

    def train(mode, step=6):
        arguments = [*minute, *KNOBS, f"residual={mode}"]
        run = Run(compose(arguments), arguments)
        run.train()
        weights = torch.load(run.directory / "checkpoints" / f"step={step:06}.ckpt", weights_only=True)["state_dict"]
        network = run.model
        network.load_state_dict({name.removeprefix("model."): weight for name, weight in weights.items()})
        return run.directory, network

    return train


@torch.no_grad()
@pytest.mark.parametrize(("mode", "name"), [("pre_norm", "OlmoForCausalLM"), ("dhc", "HcexpForCausalLM")])
def test_a_run_is_exported_and_loads_as_the_output_says(hcexp, trained, mode, name):
    from transformers import AutoModelForCausalLM

    run, network = trained(mode)
    status, out, err = hcexp("export", run)
    assert (status, err) == (0, "")
    assert out.startswith(f"step 6 of 6 exported as {name}: {run}/export\n")
    model = eval(out.splitlines()[-1], {"AutoModelForCausalLM": AutoModelForCausalLM}).eval()
    assert type(model).__name__ == name and model.config.max_position_embeddings == 32
    tokens = torch.arange(40).reshape(2, 20)
    torch.testing.assert_close(model(tokens).logits, network(tokens), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_another_checkpoint_and_another_folder(hcexp, trained, tmp_path):
    from transformers import AutoModelForCausalLM

    run, network = trained("pre_norm", step=4)
    checkpoint = run / "checkpoints" / "step=000004.ckpt"
    status, out, _ = hcexp("export", run, "--to", tmp_path / "a" / "model", "--checkpoint", checkpoint)
    assert status == 0 and out.startswith(f"step 4 of 6 exported as OlmoForCausalLM: {tmp_path}/a/model\n")
    assert not (run / "export").exists()
    tokens = torch.arange(40).reshape(2, 20)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a" / "model").eval()
    torch.testing.assert_close(model(tokens).logits, network(tokens), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_exported_is_one_line(refused, trained, tmp_path):
    run, _ = trained("pre_norm")
    assert refused("export", tmp_path) == f"{tmp_path} is not the folder of a run: it has no config.yaml"
    assert refused("export", run, "--checkpoint", "none.ckpt") == "--checkpoint=none.ckpt: there is no such file"
    assert refused("export", run, "--to", tmp_path).endswith("exists: delete it, or name another with --to")
    shards = run / "checkpoints" / "step=000009.ckpt"
    distributed.save({"state_dict": {"weight": torch.ones(2)}}, checkpoint_id=shards, no_dist=True)
    torch.save({}, shards / "meta.pt")
    assert "step=000009.ckpt is in shards: join them with `python -m lightning." in refused("export", run)
    shutil.rmtree(run / "checkpoints")
    assert latest(run / "checkpoints") is None
    assert refused("export", run) == f"{run} has no checkpoint: train it first"
    assert not (run / "export").exists()
