import json
import shutil

import pytest


@pytest.fixture
def listed(hcexp, runs):
    """Lists the trained runs, or those of another folder: the words of each line."""

    def call(*arguments, folder=runs):
        status, out, err = hcexp("runs", f"paths.runs={folder}", *arguments)
        assert (status, err) == (0, ""), err
        return [line.split() for line in out.splitlines() if line.strip() and "─" not in line][1:]

    return call


def test_every_run_is_listed_with_mode_state_and_measures(trained, listed):
    first, second, third, why = listed()
    assert first[:6] == [trained.pre_norm.identity, "pre_norm", "tiny", "0", "finished", "6"]
    assert second[:8] == [trained.dhc.identity, "dhc", "n=2", "tanh=false", "tiny", "1", "finished", "6"]
    assert second[8] == f"{trained.dhc.result()['metrics']['local/mean/loss']:.3f}"
    assert third[:6] == [trained.stopped.identity, "dhc", "n=4", "tiny", "0", "failed"] and third[6] == "3/6"
    assert " ".join(why) == f"{trained.stopped.identity}: power cut"
    losses = {run.identity: run.result()["metrics"]["local/mean/loss"] for run in (trained.pre_norm, trained.dhc)}
    assert [line[0] for line in listed("--sort", "loss")][:2] == sorted(losses, key=losses.get)


CHOSEN = {
    "residual=dhc": [1, 2],
    "residual=pre_norm,dhc seed=0": [0, 2],
    "residual.n=2": [1],
    "seed=range(1,3)": [1],
    "seed=0 scale=tiny": [0, 2],
    "residual=glob(*)": [0, 1, 2],
    "residual=glob(*,exclude=pre*)": [1, 2],
    "seed=glob('1*') scale=glob(t*)": [1],
    "residual=glob(*hc) residual.n=glob(*)": [1, 2],
}
REFUSED = {
    "residul=dhc": "residul is not a knob of any run in {}, did you mean residual",
    "optimizer.l=1": "optimizer.l is not a knob of any run in {}, did you mean optimizer.lr",
    "residul=glob(*)": "residul is not a knob of any run in {}, did you mean residual",
    "seed=interval(0,3)": "seed=interval(0,3): give one value, several as 0,1, a range as range(0,3), or a pattern as",
}


def test_overrides_choose_among_the_runs(trained, listed, hcexp, runs, refused):
    names = [run.identity for run in (trained.pre_norm, trained.dhc, trained.stopped)]
    for wanted, found in CHOSEN.items():
        lines = [line for line in listed(*wanted.split()) if not line[0].endswith(":")]
        assert [line[0] for line in lines] == [names[index] for index in found], wanted
    assert "no run with these values" in hcexp("runs", f"paths.runs={runs}", "residual=pre_norm", "seed=1")[1]
    assert hcexp("runs", f"paths.runs={runs}/none")[:2] == (0, f"no run in {runs}/none\n")
    for wanted, line in REFUSED.items():
        assert refused("runs", f"paths.runs={runs}", wanted).startswith(line.format(runs))


def test_a_run_that_was_set_aside_keeps_its_curves(trained, listed, runs):
    aside = runs / "stale" / f"{trained.pre_norm.identity}-1"
    shutil.copytree(trained.pre_norm.directory, aside)
    result = json.loads((aside / "result.json").read_text())
    result["metrics"] = {}  # what is left are the curves
    (aside / "result.json").write_text(json.dumps(result))
    (line,) = listed(folder=aside.parent)
    assert line[0] == aside.name and line[7] == "train" and float(line[6]) > 0


def test_a_damaged_run_is_listed_as_such_and_the_others_too(trained, listed, runs):
    harm = {
        "text": ("config.yaml", "a: [1\n"),
        "unchosen": ("config.yaml", "seed: 0\n"),
        "list": ("result.json", "[]"),
        "lost": ("result.json", '{"state": "finished"}'),
        "metrics": ("result.json", '{"state": "pruned", "steps": 1, "metrics": 3, "config": {}}'),
    }
    for name, (file, text) in harm.items():
        shutil.copytree(trained.pre_norm.directory, runs / name)
        (runs / name / file).write_text(text)
    lines = listed("residual=pre_norm")
    assert [line[0] for line in lines[:1]] == [trained.pre_norm.identity] and lines[0][4] == "finished"
    assert {line[0]: line[4] for line in lines[1:6]} == dict.fromkeys(harm, "damaged")
    said = {line[0]: " ".join(line) for line in lines[6:]}
    assert len(said) == 5 and all(" is damaged (" in line for line in said.values())
    assert {str(runs / name / file) for name, (file, _) in harm.items()} - set(said) <= {
        str(runs / name / "result.json") for name in ("lost", "metrics")
    }


def test_every_verb_takes_the_name_that_is_listed(refused, trained, tmp_path, monkeypatch):
    shutil.copytree(trained.pre_norm.directory, tmp_path / "runs" / "0123456789abcdef")
    config = tmp_path / "runs" / "0123456789abcdef" / "config.yaml"
    config.write_text("seed: [")
    monkeypatch.chdir(tmp_path)
    for words in (["export"], ["analyse"], ["evaluate"], ["compare", "0123"], ["train", "--resume"]):
        assert "runs/0123456789abcdef/config.yaml is damaged (" in refused(*words, "0123"), words
        assert "neither the folder of a run nor the beginning of one's name in runs" in refused(*words, "9"), words
    shutil.copytree(config.parent, tmp_path / "runs" / "0124")
    assert refused("export", "012").endswith("0123456789abcdef, 0124: write more of it")
