"""An error that a person can mend is one line that names the knob, the value and what is allowed."""

import shutil
import socket
import time
from collections import namedtuple

import pytest
from hydra.errors import InstantiationException

from hcexp.cli.errors import explain
from hcexp.configuration import nearest


@pytest.fixture
def train(refused, minute, tmp_path):
    """The line with which `hcexp train` refuses a minute run; nothing may be left of it."""

    def call(*overrides):
        line = refused("train", *minute, *overrides)
        runs = tmp_path / "runs"
        assert not runs.exists() or not [path for path in runs.iterdir() if path.is_dir()]
        return line

    return call


LINES = {
    "residual=dhcc": "residual=dhcc is not known, did you mean dhc or shc; choose from ",
    "residual=residual": "residual=residual is not known, did you mean resi_dual; choose from ",
    "residual=ptb": "residual=ptb is not known, did you mean parallel; choose from ",
    "residual=HC": "residual=HC is not known, did you mean dhc; choose from ",
    "scale=20n": "scale=20n is not known, did you mean 20m",
    "model=huge": "model=huge is not known; choose from 150m, 1b, 20m, 300m, 60m, 7b, tiny",
    "residul=dhc": "residul is not a knob here, did you mean residual",
    "optimizer.lrr=1": "optimizer.lrr is not a knob here, did you mean optimizer.lr",
    "schedule.final=0": "schedule.final is not a knob here, did you mean schedule.min_lr_ratio;",
    "residual.n=4": "residual.n is not a knob here",  # pre_norm has none
    "residual=dhc residual.tan=false": "residual.tan is not a knob here, did you mean residual.tanh",
    "trainer.max_step=3": "trainer.max_step is not a knob here, did you mean trainer.max_steps",
    "model.d=1.5": "model.d=1.5 is not allowed: it must be a whole number, such as 128",
    "model.d=null": "model.d=null is not allowed: it must be a whole number",
    "model.d=true": "model.d=True is not allowed: it must be a whole number",
    "optimizer.lr=fast": "optimizer.lr=fast is not allowed: it must be a number",
    "compile=3": "compile=3 is not allowed: it must be true or false",
    "data.max_tokens=abc": "data.max_tokens=abc is not allowed: it must be a whole number, or null",
    "seed=-1": "data.seed=-1: allowed is at least 0",
    "steps=0": "a run of steps=0 trains nothing: it must be 1 or more",
    "model.heads=5": "model.heads=5 does not divide model.d=32 into heads of even width: choose heads from [1, 2",
    "model.pad_vocabulary_to=0": "model.pad_vocabulary_to=0 must be 1 or more",
    "data.batch_size=0": "data.batch_size=0: allowed is at least 1",
    "data.files=nowhere.txt": "data.files='nowhere.txt': no such file, and a glob that matches nothing",
    "evaluation.files=nowhere": "evaluation.files='nowhere': no such file, and a glob that matches nothing",
    "data.eos=xyz": "eos='xyz' is not in the tokenizer",
    "data.tokenizer=none.json": "tokenizer='none.json': there is no such file",
    "model.vocabulary_size=100": "vocabulary_size=100: the tokenizer ",
    "evaluation=embedded": "evaluation=embedded is not known, did you mean corpus; choose from ",
    "evaluation.every=0": "evaluation.every=0: allowed is at least 1",
    "optimizer.betas=[2,3]": "optimizer.betas=[2, 3] must be two numbers, each 0 or more and less than 1",
    "model.d=1000000000": "model.d=1000000000 must be 1 or more, and at most 1048576",
    "data.batch_size=1000000000": "data.batch_size=1000000000 with data.sequence_length=32 is 32,000,000,000 tokens a",
    "optimizer.lr=0": "optimizer.lr=0 must be greater than 0",
    "schedule.warmup=60": "schedule.warmup=60 counts steps: it must be 0 or more, and less than steps=6",
    "objective.z_loss=-1": "objective.z_loss=-1 is a weight: it must be 0 or more",
    "callbacks.curves.every=0": "callbacks.curves.every must be at least 1 optimiser step, got 0",
    "callbacks.checkpoint.keep=0": "callbacks.checkpoint.keep must be at least 1, got 0",
    "+optimizer.momentum=1": "AdamW.__init__() got an unexpected keyword argument 'momentum'",
    "model.norm=foo": "model.norm=foo is not a norm: choose from ['layer_norm', 'rms_norm']",
    "residual._target_=tests.nowhere.Mine": "residual._target_=tests.nowhere.Mine cannot be imported: is its package",
    "seed=0,1": "seed=0,1 lists several values, and one run takes one: hcexp train -m trains them all",
    "residual=choice('pre_norm','dhc')": "residual=choice('pre_norm','dhc') lists several values",
    "tracking.uri=x": "tracking.uri is not a knob here",  # tracking=none has none
    "data=local data.files=???": "data.files must be given: add data.files=",
    "tracking=mlflow tracking.uri=file:mlruns": "tracking.uri='file:mlruns' is ",
    "tracking=mlflow tracking.uri=ftp://host": "tracking.uri='ftp://host' is ",
    "residual=altup residual.active=x": "residual.active=x is not known: choose from ",
    "residual=altup residual.embedding=x": "residual.embedding=x is not known: choose from ",
    "residual=altup residual.per=x": "residual.per=x is not known: choose from ",
    f"residual={999 * '['}{999 * ']'}": f"residual={31 * '['}… is nested too deep",
    "model.d=1000000000000": "model.d=1000000000000 ",
} | {
    f"residual={mode} residual.n={n}": f"residual.n={n} is the expansion rate: it must be a whole number from 1 to 1024"
    for mode, n in (("shc", 0), ("dhc", -2), ("altup", 0))
}


def test_a_bad_override_is_one_line(train):
    found = {override: train(*override.split()) for override in LINES}
    assert {word: line for word, line in found.items() if not line.startswith(LINES[word])} == {}


def test_a_size_that_no_machine_holds_names_the_knob():
    given = ["residual=dhc", "residual.n=1000000", "model.d=64", "seed=99999999999", "data.batch_size=8"]
    for error in (
        MemoryError(),
        OverflowError("int too large"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
        TypeError('empty(): argument size failed to unpack at pos 1 with error "Overflow when unpacking long long"'),
        RuntimeError("Storage size calculation overflowed with sizes=[30, 10]"),
    ):
        built = InstantiationException("Error in call to target\nfull_key: model")
        built.__cause__ = error
        for raised in (error, built):
            assert explain(raised, given).startswith("residual.n=1000000 is too large: there is no memory for it (")
        assert explain(error, ["scale=7b"]).startswith("there is not enough memory: ")
    assert explain(RecursionError(), given) == "the configuration is nested too deep"
    assert explain(RuntimeError("a fault of the program"), given) is None


def test_what_is_no_override_is_refused(hcexp, refused, minute):
    status, _, err = hcexp("train", *minute, "residual.n")
    assert status == 2 and err == "hcexp: error: residual.n is no override: write knob=value\n"
    assert refused("train", *minute, "a b=c d").startswith("a b=c d is not an override: write knob=value")
    assert (
        refused("train", "evaluation=local", "tracking=none")
        == "evaluation.files must be given: add evaluation.files=…"
    )


def test_a_text_too_short_is_refused(train, tmp_path):
    (tmp_path / "empty.txt").touch()
    for knob in ("data.files", "evaluation.files"):
        assert train(f"{knob}={tmp_path}/empty.txt") == f"{tmp_path}/empty.txt: no text, 0 documents"
    (tmp_path / "short.txt").write_text("a few words")
    line = train(f"data.files={tmp_path}/short.txt")
    assert "short.txt has " in line and line.endswith("a sequence of data.sequence_length=32 needs 33")


def test_a_damaged_shard_is_refused(train, minute, tmp_path, hcexp):
    cache = f"paths.cache={tmp_path}/cache"
    assert hcexp("prepare", *minute, cache)[0] == 0
    for shard in (tmp_path / "cache").glob("*/tokens-*.bin"):
        content = bytearray(shard.read_bytes())
        content[100] ^= 1
        shard.write_bytes(content)
    assert "does not have the checksum that it was written with: delete " in train(cache)


def test_a_server_that_is_not_there_is_found_before_training(train, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    begun = time.monotonic()
    line = train("tracking=mlflow", f"tracking.uri={address}")
    assert line.startswith(f"MLflow server {address} does not answer (connection refused): start it")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert train("tracking=mlflow").startswith(f"MLflow server {address} does not answer")
    assert time.monotonic() - begun < 20


def test_a_run_that_cannot_end_is_one_line_and_not_a_success(refused, minute, monkeypatch):
    line = refused("train", *minute, "optimizer.lr=1e30")
    assert line.startswith("loss is nan at step 2 (learning rate 1e+30): try a lower optimizer.lr")
    for knob in ("trainer.precision=abc", "trainer.accelerator=abc", "trainer.accumulate_grad_batches=0"):
        assert knob.partition("=")[2] in refused("train", *minute, knob)  # Lightning's own words
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**6, 10**6, 0))
    line = refused("train", *minute)
    assert "3 checkpoints need " in line and "0 B are free: make room there, or lower callbacks.checkpoint.keep" in line


def test_nearest_ignores_case_and_punctuation():
    assert nearest("PreNorm", ["pre_norm", "shc"]) == ", did you mean pre_norm"
    assert nearest("xyz", ["pre_norm"]) == ""
