import json

import pytest
from filelock import FileLock

from hcexp.run.folder import RunFolder, find_run, made_in, run_folders
from hcexp.tracking.metrics import METRICS


def test_a_folder_tells_what_its_run_did(trained):
    pre_norm, dhc, stopped = (RunFolder(run.directory) for run in (trained.pre_norm, trained.dhc, trained.stopped))
    assert (pre_norm.mode, pre_norm.state, pre_norm.step, pre_norm.is_finished) == ("pre_norm", "finished", 6, True)
    result = trained.dhc.result()
    assert dhc.mode == "dhc n=2 tanh=false" and dhc.config == result["config"] and dhc.metrics == result["metrics"]
    assert dhc.loss == ("local", result["metrics"]["local/mean/loss"])
    assert [step for step, _ in dhc.checkpoints] == [4, 6] and dhc.content == trained.dhc.content
    assert dhc.code == result["record"]["code"] == dhc.attempts[0]["code"] and dhc.run_id == ""
    assert [step for step, _ in dhc.curves["train/loss"]] == [1, 2, 3, 4, 5, 6]
    assert (stopped.state, stopped.step, stopped.loss[0]) == ("failed", 3, "train")
    assert stopped.loss[1] == stopped.curves["train/loss"][-1][1] and stopped.metrics == {}


def test_a_run_is_running_while_its_lock_is_held_and_stopped_afterwards(runs, trained):
    folder = runs / trained.stopped.identity
    (folder / "result.json").unlink()  # as after kill -9
    assert RunFolder(folder).state == "stopped" and RunFolder(folder).code == RunFolder(folder).attempts[-1]["code"]
    with FileLock(folder / ".lock"):
        assert RunFolder(folder).state == "running"
    (folder / METRICS).unlink()
    assert RunFolder(folder).step == 2, "of the newest checkpoint"


def test_the_loss_is_of_the_runs_own_suite_before_any_other(runs, trained):
    path = runs / trained.dhc.identity / "result.json"
    result = json.loads(path.read_text())
    own = result["metrics"]["local/mean/loss"]
    result["metrics"] |= {"corpus/mean/loss": own + 1, "perf/tokens_per_second": 7.0}
    path.write_text(json.dumps(result))
    assert RunFolder(path.parent).loss == ("local", own) and RunFolder(path.parent).tokens_per_second == 7
    del result["metrics"]["local/mean/loss"]
    path.write_text(json.dumps(result))
    assert RunFolder(path.parent).loss == ("corpus", own + 1)


FOLDER, GOES_ON = "restore it, or delete the folder", "delete it, and the run goes on"
# What reads a file, what is in it, and what the one line says.
DAMAGE = {
    ("config.yaml", "configuration"): {
        "": f"it has no choices of a run): {FOLDER}",
        "a: [1\n": FOLDER,
        "choices: {}\nseed: 1\nsteps: 2\nresidual: []\n": f"it has no residual of a run): {FOLDER}",
        "choices: !!python/object/apply:os.getcwd []\n": FOLDER,
    },
    ("result.json", "result"): {
        "[]": f"it holds list, not dict): {GOES_ON}",
        '{"state": "fini': GOES_ON,
        '{"state": "won"}': f"its state is won): {GOES_ON}",
    },
    ("attempts.json", "attempts"): {
        '[{"st': "restore it, or delete it, and the result lists the attempts from now on",
        "[1]": "it lists no attempts): restore it, or delete it",
    },
    ("tracking.json", "run_id"): {'{"run_': "delete it, and the run is recorded anew"},
    ("identity.json", "content"): {"[" * 100_000: GOES_ON},
}


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    for (name, read), texts in DAMAGE.items():
        for text, line in texts.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(ValueError, match="is damaged") as error:
                getattr(RunFolder(tmp_path), read)
            said = str(error.value)
            assert said.startswith(f"{tmp_path / name} is damaged (") and line in said and "\n" not in said, said


def test_numbers_are_read_as_omegaconf_reads_them(runs, trained):
    path = runs / trained.dhc.identity / "config.yaml"
    path.write_text(path.read_text() + "small: 1e-3\nday: 2020-01-01\n")
    assert RunFolder(path.parent).config["small"] == 0.001
    assert RunFolder(path.parent).configuration.day == "2020-01-01"


def test_a_run_is_named_by_its_folder_or_by_how_its_name_begins(trained, tmp_path):
    folder = trained.pre_norm.directory
    assert find_run(str(folder), tmp_path).path == folder
    assert find_run(folder.name[:8], trained.runs).path == folder
    with pytest.raises(ValueError, match="write more of it"):
        find_run("", trained.runs)
    with pytest.raises(FileNotFoundError, match="neither the folder of a run"):
        find_run("nothing", trained.runs)
    assert [run.path.name for run in run_folders(trained.runs)][-1] == trained.stopped.identity


def test_a_run_was_made_where_it_lies_unless_it_was_set_aside(tmp_path):
    runs = tmp_path / "runs"
    assert made_in(runs / "0123") == runs and made_in(runs / "stale" / "0123-12") == runs
    assert made_in(tmp_path / "stale" / "0123") == tmp_path / "stale", "a folder of runs may have this name"
