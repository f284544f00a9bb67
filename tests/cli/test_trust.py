"""Somebody else's sweep or run folder is data: nothing that it names is called unless a person trusts its package."""

import os
import pickle

import pytest
import torch
import yaml
from omegaconf import OmegaConf

from hcexp.configuration import compose, instantiate, trusting
from hcexp.run.run import Run

TOUCH = "open(__import__('os').environ['SENTINEL'], 'w')"
HELD = {  # refused by its name, before anything is imported
    "builtins.open": {"file": "{sentinel}", "mode": "w"},
    "builtins.exec": {"_args_": [TOUCH]},
    "os.system": {"command": "touch {sentinel}"},
    "pandas.read_pickle": {"filepath_or_buffer": "{poison}"},
    "torch.load": {"f": "{poison}", "weights_only": False},
    "hydra.utils.get_method": {"path": "os.system"},
    "hcexpress.Mode": {},
    "${{oc.env:HIDDEN}}": {"command": "touch {sentinel}"},
}
WALKED = {  # refused by what it is
    "hcexp.study.workers.os.system": {"command": "touch {sentinel}"},
    "hcexp.run.folder.json.loads": {"s": "1"},
    "hcexp.disk.atomic.write_text": {"path": "{sentinel}", "text": "a"},
    "hcexp.model.LanguageModel.__class__": {"_args_": ["A"]},
    "hcexp.evaluation.harness.task.HarnessTask": {"task": "a", "folder": "b"},
    "lightning.pytorch.cli.LightningCLI": {},
}


class Poison:
    def __reduce__(self):
        return exec, (TOUCH,)


@pytest.fixture
def section(tmp_path, monkeypatch):
    """Makes a section of a configuration that would touch a file; in the end it must not be there."""
    sentinel, poison = tmp_path / "sentinel", tmp_path / "poison.pkl"
    monkeypatch.setenv("SENTINEL", str(sentinel))
    monkeypatch.setenv("HIDDEN", "os.system")
    monkeypatch.delenv("HCEXP_TRUST")
    poison.write_bytes(pickle.dumps(Poison()))

    def make(target):
        text = yaml.safe_dump({"_target_": target, **(HELD | WALKED)[target]})
        return yaml.safe_load(text.format(sentinel=sentinel, poison=poison))

    yield make
    assert not sentinel.exists()


@pytest.fixture
def folder(section, minute, tmp_path):
    """Makes the folder of a run with a section of its configuration replaced."""

    def make(target, name="residual"):
        config = OmegaConf.to_container(compose(minute), resolve=True)
        config[name] = section(target)
        path = tmp_path / (Run(OmegaConf.create(config)).identity if name == "residual" else "run")
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        torch.save({"state_dict": {}, "global_step": 1}, path / "checkpoints" / "step=000001.ckpt")
        return path

    return make


def named(target):
    return target.replace("${{oc.env:HIDDEN}}", "os.system")


@pytest.mark.parametrize("verb", ["train --resume", "analyse", "evaluate", "export"])
def test_a_run_folder_calls_nothing(verb, folder, refused):
    for target in HELD:
        line = refused(*verb.split(), folder(target, "objective"))
        assert f"config.yaml: objective._target_={named(target)} is not allowed: only classes of hcexp and " in line
        assert line.endswith(("are", f"HCEXP_TRUST={target.partition('.')[0]} before the command"))
    name = "evaluation" if verb == "analyse" else "residual"
    for target in WALKED:
        line = refused(*verb.split(), folder(target, name))
        assert line == f"{name}._target_={target} is not allowed: it is not a class of hcexp and lightning.pytorch"


@pytest.mark.parametrize("verb", ["sweep", "report", "cost --sweep"])
def test_a_sweep_calls_nothing(verb, section, refused, minute, tmp_path):
    content = {"title": "a", "baseline": "a", "rows": [{"label": "a"}]}
    for target in HELD | WALKED:
        given = section(target)
        given["_target_"] = named(given["_target_"])
        overrides = [f"++residual.{key}={str(value).replace(' ', '')!r}" for key, value in given.items()]
        (tmp_path / "own.yaml").write_text(yaml.safe_dump({**content, "overrides": overrides}))
        line = refused(*verb.split(), tmp_path / "own.yaml", *minute)
        assert line.startswith("sweep own: ") and "names code, and the file holds data: no _target_" in line


def test_a_search_path_is_named_by_the_command_line_alone(section, refused, hcexp, minute, tmp_path, monkeypatch):
    package = tmp_path / "my_own"
    (package / "conf" / "residual").mkdir(parents=True)
    (package / "__init__.py").write_text(TOUCH)
    monkeypatch.syspath_prepend(tmp_path)
    search = "hydra.searchpath=[pkg://my_own.conf]"
    content = {"title": "a", "baseline": "a", "rows": [{"label": "a"}], "overrides": [search]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
    line = refused("report", tmp_path / "own.yaml")
    assert line == "sweep own: hydra.searchpath is not for a file to set: give it on the command line"
    (package / "__init__.py").write_text("")
    (tmp_path / "own.yaml").write_text(yaml.safe_dump({**content, "overrides": []}))
    line = refused("report", tmp_path / "own.yaml", search, *minute)
    assert line.startswith("hydra.searchpath=[pkg://my_own.conf]: the folder my_own.conf needs a file __init__.py")
    (package / "conf" / "__init__.py").touch()
    monkeypatch.setenv("HCEXP_TRUST", "my_own")
    assert hcexp("train", *minute, search, "--config")[0] == hcexp("train", *minute, "--config")[0] == 0
    assert refused("train", "hydra.searchpath=[pkg://my_own.nowhere]").endswith("my_own has no such folder")
    line = refused("train", "hydra.searchpath=[pkg://not_there.conf]")
    assert line == "not_there is not importable: install it, or set PYTHONPATH to the folder that it is in"


def test_trust_lasts_as_long_as_the_command(monkeypatch):
    for before in (None, "one"):
        monkeypatch.setenv("HCEXP_TRUST", before) if before else monkeypatch.delenv("HCEXP_TRUST")
        with trusting(["residual=x", "hydra.searchpath=[pkg://two.conf,file:///three]", "--scale=1b"]):
            assert os.environ["HCEXP_TRUST"] == ",".join(filter(None, [before, "two"]))
        assert os.environ.get("HCEXP_TRUST") == before


def test_what_is_defined_in_a_trusted_package_is_called(monkeypatch):
    here = __name__
    assert (
        instantiate({"a": {"_target_": f"{here}.Poison"}, "b": {"_target_": f"{here}.named", "target": "x"}}).b == "x"
    )
    with pytest.raises(ValueError, match="^a._target_=os.system is not allowed: only classes of hcexp"):
        instantiate(OmegaConf.create({"a": {"_target_": "os.system"}, "b": {"c": "${a}"}}).b)
    with pytest.raises(ValueError, match=f"^b._target_={here}.os.system is not allowed: it is not a class of hcexp"):
        instantiate({"b": {"_target_": f"{here}.os.system", "command": "true"}})
