import torch
from torch.distributed import checkpoint as distributed

import hcexp.run
from hcexp.callbacks import latest
from hcexp.run.checkpoint import read_checkpoint


def test_a_run_is_loaded_from_python(trained):
    model, tokenizer, configuration = hcexp.run.load(str(trained.pre_norm.directory))
    assert configuration.model.d == 32 and tokenizer.vocabulary_size == configuration.data.vocabulary_size
    saved = torch.load(latest(trained.pre_norm.directory / "checkpoints"), weights_only=True)["state_dict"]
    assert not model.training and all(torch.equal(w, saved[f"model.{n}"]) for n, w in model.state_dict().items())
    early = hcexp.run.load(trained.pre_norm.directory, trained.pre_norm.directory / "checkpoints/step=000004.ckpt")
    tokens = torch.arange(20)[None]
    assert model(tokens).shape[:2] == (1, 20) and not torch.equal(model(tokens), early.model(tokens))


def test_shards_are_put_together(runs, trained):
    run = runs / trained.pre_norm.identity
    newest = latest(run / "checkpoints")
    one = read_checkpoint(run)
    content = torch.load(newest, weights_only=True)
    shards = newest.with_name("step=000009.ckpt")
    parts = {"state_dict": content.pop("state_dict"), "optimizer_0": {"lr": 1e-3}}
    distributed.save(parts, checkpoint_id=shards, no_dist=True)
    torch.save({**content, "global_step": 9}, shards / "meta.pt")
    found = read_checkpoint(run)
    assert found.step == 9 and found.checksum() == one.checksum() == read_checkpoint(run, newest).checksum()


def test_what_is_no_checkpoint_is_named_in_one_line(runs, trained, refused):
    run = runs / trained.pre_norm.identity
    newest, path = latest(run / "checkpoints"), run / "checkpoints" / "other.ckpt"
    for content, what in ((newest.read_bytes()[:-30], "is cut off"), (b"", "is empty"), (b"{}", "is cut off")):
        path.write_bytes(content)
        line = refused("analyse", path)
        assert line.startswith(f"{path} is no checkpoint, or a damaged one: it {what}")
        assert refused("evaluate", run, "--checkpoint", path) == line
    for content in ({"weight": torch.zeros(1)}, [1], {"state_dict": {}}):
        torch.save(content, path)
        assert refused("analyse", path) == f"{path} is no checkpoint of a run: it has no state_dict and global_step"
    (run / "config.yaml").write_text("a: [1\n")
    assert refused("analyse", run).startswith(f"{run}/config.yaml is damaged ")
