import shutil

import pytest
import torch

from hcexp.run import load


@torch.no_grad()
@pytest.mark.parametrize("step", [4, 6])
def test_a_run_is_exported_and_loads_as_the_output_says(hcexp, runs, trained, tmp_path, monkeypatch, step):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    modes = {trained.pre_norm.identity: "OlmoForCausalLM", trained.dhc.identity: "HcexpForCausalLM"}
    tokens = torch.arange(40).reshape(2, 20)
    for identity, name in modes.items():
        run, folder, options = runs / identity, runs / identity / "export", []
        checkpoint = run / "checkpoints" / f"step={step:06}.ckpt"
        if step == 4:  # another checkpoint and another folder
            folder = tmp_path / "a" / identity
            options = ["--to", folder, "--checkpoint", checkpoint]
        status, out, err = hcexp("export", run, *options)
        assert (status, err) == (0, "")
        assert out.startswith(f"step {step} of 6 exported as {name}: {folder}\n")
        assert (run / "export").exists() == (step == 6)
        model = eval(out.splitlines()[-1], {"AutoModelForCausalLM": AutoModelForCausalLM}).eval()
        assert type(model).__name__ == name and model.config.max_position_embeddings == 32
        torch.testing.assert_close(model(tokens).logits, load(run, checkpoint).model(tokens), rtol=1e-5, atol=1e-5)


def test_what_cannot_be_exported_is_one_line(refused, runs, trained, tmp_path):
    run = runs / trained.pre_norm.identity
    assert refused("export", tmp_path) == f"{tmp_path} is not the folder of a run: it has no config.yaml"
    assert refused("export", run, "--checkpoint", "none.ckpt") == "--checkpoint=none.ckpt: there is no such file"
    assert refused("export", run, "--to", tmp_path).endswith("exists: delete it, or name another with --to")
    shutil.rmtree(run / "checkpoints")
    assert refused("export", run) == f"{run} has no checkpoint: train it first"
    assert not (run / "export").exists()
