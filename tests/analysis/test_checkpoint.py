"""A checkpoint is analysed once, alone and beside others; by `hcexp analyse`, and before a report."""

import csv
import json
import shutil

import numpy as np
import pytest
import torch
from matplotlib.text import Text

from hcexp.analysis import connection_matrices, read_connections, together
from hcexp.analysis.checkpoint import analyse_runs
from hcexp.analysis.folder import read_manifest, read_numbers
from hcexp.callbacks import latest
from hcexp.configuration import compose
from hcexp.run.run import Run
from tests.registered import MODES
from tests.residual.test_adding_a_mode import MODE, my_modes  # noqa: F401

FIGURES = {"connections", "similarity", "coefficients", "gains", "streams", "ranks", "gradients", "sets", "training"}


@pytest.fixture
def train(make_run):
    """Trains a minute run with more overrides; gives its folder."""

    def train(*overrides):
        run = make_run("callbacks.checkpoint.every_n_steps=4", *overrides)
        run.train()
        return run.directory

    return train


@pytest.fixture
def plain(runs, trained):
    """The folder of a run of pre-norm that has trained."""
    return runs / trained.pre_norm.identity


@pytest.fixture
def dhc(runs, trained):
    return runs / trained.dhc.identity


@pytest.fixture
def rendered():
    """Figures are rendered, which takes seconds."""


@pytest.fixture(autouse=True)
def unseen(request, monkeypatch):
    """Figures are composed, but of each its words alone are written, unless a test asks for `rendered` ones."""
    if "rendered" in request.fixturenames:
        return

    def save(drawn, folder, name):
        assert drawn.axes
        for path in (paths := [folder / f"{name}.png", folder / f"{name}.svg"]):
            path.write_text("\n".join(text.get_text() for text in drawn.findobj(Text)))
        return paths

    monkeypatch.setattr("hcexp.analysis.figures.save", save)


@pytest.fixture
def analyse(hcexp):
    """Runs `hcexp analyse`, which must succeed; gives what it printed."""

    def call(*arguments):
        status, out, err = hcexp("analyse", *arguments)
        assert status == 0, err
        return out

    return call


@pytest.fixture
def drawn(monkeypatch):
    """What the figures of several runs are drawn of: by label, the seeds."""
    seen, genuine = {}, together.draw

    def draw(groups, folder):
        seen.update({label: sorted(seeds) for label, seeds in groups.items()})
        return genuine(groups, folder)

    monkeypatch.setattr(together, "draw", draw)
    return seen


def pngs(folder):
    return {path.stem for path in folder.glob("*.png")}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def figures_of(train, analyse):
    """Trains and analyses a run; gives the folder of its figures, which are all there."""

    def call(*overrides):
        run = train(*overrides)
        assert "step 6 of 6, 9 figures" in analyse(run)
        folder = run / "analysis"
        assert pngs(folder) == FIGURES and {path.stem for path in folder.glob("*.svg")} == FIGURES
        return folder

    return call


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_leaves_its_figures(figures_of, mode):
    figures_of(f"residual={mode}")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["pre_norm", "dhc"])
def test_figures_of_one_stream_and_of_several_are_rendered(rendered, figures_of, mode):
    folder = figures_of(f"residual={mode}")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in folder.glob("*.png"))
    assert all("</svg>" in path.read_text() for path in folder.glob("*.svg"))


def test_the_numbers_are_of_the_runs_weights_on_its_validation_set(dhc, analyse):
    analyse(dhc, "--tokens", 70)
    again = Run(compose(json.loads((dhc / "result.json").read_text())["overrides"]))
    again.prepare()
    weights = torch.load(latest(dhc / "checkpoints"), weights_only=True)["state_dict"]
    again.model.load_state_dict({name.removeprefix("model."): w for name, w in weights.items()}, assign=True)
    stream = torch.from_numpy(again.suite.loaders()[0].store.read(0, 70)).long()
    # 70 tokens of the set predict 69: two windows of 32, and one of 5 without its padding.
    expected = connection_matrices(again.model, [stream[:64].view(2, 32), stream[64:69].view(1, 5)])
    found = read_connections(dhc / "analysis")
    np.testing.assert_allclose(found.C_0, expected.C_0, rtol=1e-6)
    np.testing.assert_allclose(found.C, expected.C, rtol=1e-6)
    about = read_manifest(dhc / "analysis")
    assert (about.run, about.step, about.suite, about.sets) == (dhc.name, 6, "local", ["held"])
    assert (about.documents, about.max_tokens) == (None, 70)
    numbers = read_numbers(dhc / "analysis")
    assert set(numbers.gradients["at"]) == {"initial", "checkpoint"}
    points = numbers.curves[["metric", "tokens"]].itertuples(index=False, name=None)
    evaluated = {point for point in points if not point[0].startswith("train/")}
    assert evaluated == {("local/held/loss", 6 * 2 * 32), ("local/mean/loss", 6 * 2 * 32)}


def test_initial_gradients_are_those_of_the_weights_that_training_started_from(plain, train, analyse):
    found = []
    for run in (plain, train("steps=9", "schedule.warmup=2")):
        analyse(run)
        found.append(read_numbers(run / "analysis").gradients.set_index(["at", "layer"])["norm"])
    assert found[0]["initial", "block_1"] == found[1]["initial", "block_1"]
    assert found[0]["checkpoint", "block_1"] != found[1]["checkpoint", "block_1"] != found[1]["initial", "block_1"]


def test_what_was_analysed_is_not_analysed_again_and_a_checkpoint_has_its_own_folder(dhc, analyse, monkeypatch):
    out = analyse(dhc / "checkpoints" / "step=000004.ckpt")
    assert f"dhc n=2, step 4 of 6, 9 figures: {dhc}/analysis/step=000004\n" in out
    assert read_manifest(dhc / "analysis" / "step=000004").step == 4 and read_manifest(dhc / "analysis") is None
    analyse(dhc)
    before = {path: path.stat().st_mtime_ns for path in (dhc / "analysis").iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr("hcexp.analysis.checkpoint.survey", None)
        assert "analysed before" in analyse(dhc)
    assert {path: path.stat().st_mtime_ns for path in (dhc / "analysis").iterdir()} == before
    assert "9 figures" in analyse(dhc, "--tokens", 50) and read_manifest(dhc / "analysis").max_tokens == 50
    (dhc / "analysis" / "analysis.json").unlink()  # as if it had been interrupted
    assert "9 figures" in analyse(dhc, "--tokens", 1000, "--documents", 3)
    about = read_manifest(dhc / "analysis")
    assert (about.max_tokens, about.documents) == (200, 3), "no more is read than the run read itself"


@pytest.mark.slow
def test_runs_stand_beside_each_other(train, analyse, tracked, tmp_path):
    of = [*tracked, "evaluation.every=2", "optimizer.lr=0.01"]
    plain = [train(*of, f"seed={seed}") for seed in (0, 1)]
    wide = [train(*of, "residual=dhc", f"seed={seed}") for seed in (0, 1)]
    still = train(*of, "optimizer.lr=1e-12")
    out = analyse(*plain, *wide, still, "--to", tmp_path / "figures")
    folder = tmp_path / "figures"
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {run.name for run in (*plain, *wide, still)}
    assert pngs(folder) == FIGURES - {"coefficients"} | {"training", "convergence"}
    assert not (plain[0] / "analysis").exists()
    means = {row["variant"]: row for row in rows(folder / "convergence_mean.csv") if row["metric"] == "local/mean/loss"}
    assert means.keys() == {"dhc n=4", "pre_norm, lr=1e-12"}
    assert means["pre_norm, lr=1e-12"]["ratio"] == "" and means["dhc n=4"]["seeds"] == "2"
    assert means["dhc n=4"]["baseline"] == "pre_norm, lr=0.01"
    assert "convergence ratio of pre_norm, lr=1e-12 over pre_norm, lr=0.01, local/mean/loss: not reached\n" in out
    assert len(rows(folder / "convergence.csv")) == 2 * 3  # of the training loss too
    for said in (out, (folder / "convergence.svg").read_text()):
        assert "biased against the variants" in said
    out = analyse(plain[0], wide[0], "--baseline", wide[0])  # the baseline can be any of them
    assert "convergence ratio of pre_norm over dhc n=4, local/mean/loss: " in out
    (folder,) = (wide[0] / "analysis").glob("compared-*")
    assert pngs(folder) >= {"connections", "convergence"} and not list((plain[0] / "analysis").glob("compared-*"))
    analyse(wide[0], plain[0])
    assert list((wide[0] / "analysis").glob("compared-*")) == [folder]


@pytest.mark.slow
def test_runs_of_one_seed_are_both_drawn_and_each_has_its_folder(plain, dhc, train, analyse, drawn, tmp_path):
    analyse(plain, dhc, train("data.seed=5"), train("seed=1"), "--to", tmp_path / "data")
    assert drawn == {"pre_norm": [0, 1], "pre_norm, data.seed=5": [0], "dhc n=2": [1]}
    drawn.clear()
    copy = shutil.copytree(plain, tmp_path / "elsewhere" / plain.name)
    out = analyse(plain, copy, "--to", tmp_path / "names")
    assert drawn == {"pre_norm, in runs": [0], "pre_norm, in elsewhere": [0]} and "analysed before" not in out
    for way in ("runs", "elsewhere"):
        assert read_manifest(tmp_path / "names" / way / plain.name).step == 6
    drawn.clear()
    aside = shutil.copytree(plain, plain.parent / "stale" / f"{plain.name}-1")  # as by --rerun-stale
    result = json.loads((aside / "result.json").read_text())
    code, result["record"]["code"] = result["record"]["code"], "0123456789abcdef"
    (aside / "result.json").write_text(json.dumps(result))
    analyse(aside, plain, "--to", tmp_path / "codes")
    assert drawn == {"pre_norm, code 01234567": [0], f"pre_norm, code {code[:8]}": [0]}
    assert {path.name for path in (tmp_path / "codes").iterdir() if path.is_dir()} == {plain.name, aside.name}


@pytest.mark.slow
def test_a_baseline_that_is_not_finished_has_no_final_loss_to_reach(plain, train, analyse):
    other = train("residual=dhc")
    result = json.loads((plain / "result.json").read_text())
    (plain / "result.json").write_text(json.dumps({**result, "state": "failed"}))
    out = analyse(plain, other)
    assert f"no convergence ratio over {plain}: it is not finished" in out and "convergence ratio of" not in out
    assert "convergence ratio of pre_norm" in analyse(other, plain), "a variant may have reached it before it failed"


@pytest.mark.slow
def test_a_tracked_run_has_its_curves_and_keeps_the_files(train, analyse, tracked, store_uri):
    from mlflow import MlflowClient

    run = train(*tracked, "evaluation.every=3", "callbacks.gradients.every=2", "residual=dhc")
    assert "10 figures: " in analyse(run)
    assert pngs(run / "analysis") == FIGURES | {"gradients_in_training"}
    curves = read_numbers(run / "analysis").curves
    steps = curves.groupby("metric")["step"].apply(list)
    assert steps["train/loss"] == [1, 2, 3, 4, 5, 6] and steps["local/held/loss"] == [3, 6]
    assert steps["train/grad_norm/block_2"] == steps["train/grad_norm/connections_1"] == [2, 4, 6]
    client, identity = MlflowClient(store_uri), json.loads((run / "tracking.json").read_text())["run_id"]
    kept = {file.path.partition("/")[2] for file in client.list_artifacts(identity, "analysis")}
    assert kept == {path.name for path in (run / "analysis").iterdir()} - {"analysis.json"}
    assert "analysed before" in analyse(run)


@pytest.mark.slow
def test_a_store_that_is_away_takes_nothing_away(train, analyse, tracked, tmp_path):
    run, store = train(*tracked), tmp_path / "runs" / "mlflow.db"
    store.rename(tmp_path / "away.db")
    with pytest.warns(UserWarning, match=r"mlflow.db: the files are not recorded there \(there is no"):
        assert "9 figures: " in analyse(run)
    assert not store.exists() and not read_manifest(run / "analysis").tracked
    (tmp_path / "away.db").rename(store)
    assert "9 figures: " in analyse(run) and read_manifest(run / "analysis").tracked
    store.rename(tmp_path / "away.db")
    assert "analysed before" in analyse(run), "nothing has to be asked of the store"
    assert "train/loss" in set(read_numbers(run / "analysis").curves["metric"])


def test_a_mode_from_elsewhere_is_analysed_too(my_modes, train, analyse):  # noqa: F811
    run = train(*MODE)
    assert "re_zero, step 6 of 6, 9 figures" in analyse(run)
    coefficients = read_numbers(run / "analysis").coefficients
    B = coefficients[coefficients["coefficient"] == "B"]["mean"].abs()
    assert len(B) == 4 and B.between(0, 1, inclusive="neither").all()


def test_what_cannot_be_analysed_is_one_line_and_a_report_goes_on_without(refused, plain, dhc, tmp_path):
    newest, none = latest(plain / "checkpoints"), tmp_path / "none"
    shutil.copy(newest, tmp_path / "away.ckpt")
    for words, line in (
        ([plain, newest], f"{plain} and {newest} are one run at one step: name one of them"),
        ([none], f"{none} is not the folder of a run: it has no config.yaml"),
        ([plain, tmp_path / "away.ckpt"], f"{tmp_path} is not the folder of a run: it has no config.yaml"),
        ([plain / "step=000009.ckpt"], f"{plain}/step=000009.ckpt: there is no such checkpoint"),
        ([plain, "--tokens", "0"], "argument --tokens: 0 must be a whole number, 1 or more"),
        ([], "the following arguments are required: RUN|CHECKPOINT"),
    ):
        assert refused("analyse", *words) == line
    shutil.rmtree(plain / "checkpoints")
    assert refused("analyse", plain) == f"{plain} has no checkpoint: train it first"
    assert not (plain / "analysis").exists()
    said = []
    analyse_runs([none, plain, dhc], said.append)
    assert said[0].startswith(f"not analysed: {none} is not the") and said[1].startswith(f"not analysed: {plain} has")
    assert read_connections(dhc / "analysis") is not None and read_connections(plain / "analysis") is None
    analyse_runs([dhc], said.append)
    assert "analysed before" in said[-1]
