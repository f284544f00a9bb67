"""A run: its result, how it goes on, what it is paired with and what it leaves."""

import pytest
import torch
from mlflow import MlflowClient

import hcexp.run.train
from hcexp.callbacks import latest
from hcexp.configuration import build_model, compose
from hcexp.run.folder import RunFolder
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run
from hcexp.tracking.logger import FileLogger
from tests.mlflow_curves import history
from tests.registered import MODES, residual


def weights(run):
    return torch.load(latest(run.directory / "checkpoints"), weights_only=True)["state_dict"]


def measured(result):
    """What a run measured, less what the machine's mood has a part in."""
    return {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# Results


def test_a_finished_run_leaves_its_result_and_is_not_trained_again(trained, fits):
    run, result = trained.calm, trained.calm.result()
    names = "identity state error metrics overrides seed steps tokens parameters run_id record attempts config"
    assert set(names.split()) == set(result)
    assert (result["state"], result["error"], result["steps"], result["tokens"]) == ("finished", None, 6, 6 * 2 * 32)
    assert result["identity"] == run.identity == run.directory.name
    assert {"git", "versions", "hardware", "code"} == set(result["record"])
    assert result["parameters"] == sum(p.numel() for p in build_model(run.config).parameters())
    assert result["overrides"] == run.overrides
    again = Run(compose(result["overrides"]), result["overrides"])
    assert again.train() == result and fits == []


def test_metrics_have_the_agreed_names_and_bits_per_byte_follow_from_nats(make_run):
    run = make_run("steps=20", "callbacks.throughput.warmup=1", "callbacks.curves.spike_warmup=5")
    metrics = run.train()["metrics"]
    sets = [f"local/{name}/{key}" for name in ("held", "mean") for key in ("loss", "perplexity", "bits_per_byte")]
    train = "tokens loss loss_ema99 grad_norm spikes spike_score grad_norm_spikes grad_norm_spike_score lr".split()
    perf = [f"perf/{name}" for name in ("tokens_per_second", "peak_memory_bytes", "train_seconds")]
    assert set(metrics) == {*sets, *(f"train/{name}" for name in train), *perf}
    (store,) = run.suite._stores.values()
    nats = metrics["local/held/loss"] * (store.tokens - 1)
    bits = nats / torch.log(torch.tensor(2.0)).item()
    assert metrics["local/held/bits_per_byte"] == pytest.approx(bits / store.bytes)
    assert metrics["local/held/perplexity"] == pytest.approx(2.718281828459045 ** metrics["local/held/loss"])
    without = make_run("~callbacks.throughput", "steps=2").train()
    assert not any(name.startswith("perf/") for name in without["metrics"])


def test_the_result_file_is_written_last_and_no_file_has_a_servers_password(make_run, monkeypatch):
    monkeypatch.setattr("hcexp.tracking.logger.MLflowLogger", FileLogger)
    run = make_run("tracking=mlflow", "tracking.uri='https://me:secret@host/path'", "steps=2")
    seen, write = {}, hcexp.run.train._write_json

    def spy(path, content):
        seen[path.name] = {p.relative_to(run.directory).as_posix() for p in run.directory.rglob("*")}
        write(path, content)

    monkeypatch.setattr(hcexp.run.train, "_write_json", spy)
    run.train()
    assert list(seen)[-1] == "result.json" and "result.json" not in seen["result.json"]
    assert {"config.yaml", "metrics.jsonl", "checkpoints/step=000002.ckpt"} <= seen["result.json"]
    for path in run.directory.glob("*.*"):
        assert path.is_dir() or "secret" not in path.read_text(), path


def test_what_cannot_be_trained_here_leaves_no_folder_and_is_refused_before_anything_is_prepared(make_run, monkeypatch):
    monkeypatch.setattr(hcexp.run.train, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    at_once = {
        "trainer.max_steps=10": "^trainer.max_steps=10 is not steps=6: set steps alone$",
        "trainer.accumulate_grad_batches=4": "data.batch_size=2 cannot be cut evenly .* of 4 micro-batches",
        "trainer=ddp trainer.devices=3 trainer.accelerator=cpu": "cannot be cut evenly over 3 processes",
        "optimizer.lr=0": "optimizer.lr",
        "schedule.warmup=60": "schedule.warmup=60",
        "compile=true": r"^compile=true needs a C\+\+ compiler, and g\+\+ is not there[^\n]*$",
    }
    later = {
        "callbacks.curves.every=0": "callbacks.curves.every",
        "data.sequence_length=100000": "data.sequence_length",
        "callbacks.throughput=null": "throughput=None is no callback",
    }
    for knobs, said in (at_once | later).items():
        run = make_run(*knobs.split())
        if knobs in at_once:
            monkeypatch.setattr(run.data, "prepare", None)
        with pytest.raises(Exception, match=said):
            run.train()
        assert not run.directory.exists(), knobs


def test_data_are_prepared_on_a_machine_without_the_devices(make_run):
    run = make_run("trainer.accelerator=tpu", "trainer.devices=8")  # of a cluster's other nodes
    run.prepare()
    assert run.data.fingerprint and run.result()["state"] == "missing" and not run.directory.exists()


# Going on


def test_an_interrupted_run_goes_on_between_micro_batches_and_drops_what_it_would_have(make_run, tmp_path, interrupt):
    knobs = ["residual._target_=tests.model.history.Dense", "+residual.dropout=0.5"]
    knobs += ["trainer.accumulate_grad_batches=2", "evaluation.every=4", "callbacks.checkpoint.every_n_steps=2"]
    calm = make_run(*knobs, f"paths.runs={tmp_path}/calm")
    calm.train()
    run = make_run(*knobs)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    assert (run.result()["state"], run.result()["error"]) == ("failed", "KeyboardInterrupt")
    interrupt(None)
    resumed = make_run(*knobs)
    assert measured(resumed.train()) == measured(calm.result())
    assert_same(weights(resumed), weights(calm))


def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_the_last_good_checkpoint(make_run, monkeypatch):
    genuine = TrainingModule.training_step

    def poisoned(self, batch, batch_idx):
        outputs = genuine(self, batch, batch_idx)
        if self.trainer.global_step != 4:
            return outputs
        nan = outputs["loss"] * float("nan")
        return {"loss": nan, "reported": {"loss": nan.detach()}}

    monkeypatch.setattr(TrainingModule, "training_step", poisoned)
    run = make_run("callbacks.checkpoint.every_n_steps=2", "callbacks.checkpoint.keep=5")
    with pytest.raises(FloatingPointError, match="loss is nan at step 5"):
        run.train()
    failed = run.result()
    assert failed["state"] == "failed" and "step 5" in failed["error"] and failed["metrics"] == {}
    assert latest(run.directory / "checkpoints").name == "step=000004.ckpt"
    assert all(tensor.isfinite().all() for tensor in weights(run).values())


def test_an_old_failure_does_not_outlive_the_next_attempt(make_run, runs, monkeypatch):
    run = make_run("callbacks.checkpoint.every_n_steps=2", "residual=dhc")
    assert (run.result()["state"], run.result()["error"]) == ("failed", "power cut")
    monkeypatch.setattr(Run, "prepare", lambda self: (_ for _ in ()).throw(ValueError("the second")))
    with pytest.raises(ValueError, match="the second"):
        run.train()
    assert run.result()["state"] == "missing"


def test_a_run_that_stops_before_its_last_step_is_not_finished(make_run):
    run = make_run("+trainer.max_epochs=1", "+trainer.limit_train_batches=3")
    with pytest.raises(ValueError, match="training ended at step 3 of steps=6"):
        run.train()
    assert run.result()["state"] == "failed"


# Pairing


@pytest.fixture
def observed(make_run, monkeypatch):
    """Trains a run; gives it with its batches, and its backbone as it was drawn."""
    genuine, draw = TrainingModule.training_step, TrainingModule.configure_model
    batches, backbone = [], {}

    def step(self, batch, batch_idx):
        batches.extend(batch)
        return genuine(self, batch, batch_idx)

    def configure(self):
        draw(self)
        if not backbone:
            drawn = self.model.named_parameters()
            backbone.update({name: p.detach().clone() for name, p in drawn if "stream." not in name})

    def observe(*overrides):
        batches.clear(), backbone.clear()
        with monkeypatch.context() as patch:
            patch.setattr(TrainingModule, "training_step", step)
            patch.setattr(TrainingModule, "configure_model", configure)
            run = make_run(*overrides)
            run.train()
        return run, dict(enumerate(batches)), dict(backbone)

    return observe


@pytest.fixture(scope="module")
def reference():
    """The batches and the backbone of pre-norm, once there are some."""
    return []


@pytest.mark.parametrize("mode", MODES)
def test_with_one_seed_every_mode_has_one_backbone_and_batches_and_trains_alike_in_every_precision(
    make_run, observed, reference, mode
):
    if not reference:
        reference += observed("residual=pre_norm", "evaluation.every=5")[1:]  # another run than that of the mode itself
        _, batches, backbone = observed("seed=1", "steps=2")
        assert not torch.equal(batches[0], reference[0][0])
        assert not torch.equal(backbone["embedding.weight"], reference[1]["embedding.weight"])
    knobs = [f"residual={mode}"]
    if "output_init_exponent" in residual(*knobs).keywords:  # all that a mode may ask of the backbone
        knobs.append("residual.output_init_exponent=0")

    def result(run):
        return measured(run.result()), {t.dtype for t in weights(run).values() if t.is_floating_point()}

    run, batches, backbone = observed(*knobs, "trainer.precision=32-true")
    assert_same(batches, reference[0])
    assert_same(backbone, reference[1])
    whole, wide = result(run)
    tolerances = {"accumulate_grad_batches=2": 2e-4, "precision=bf16-mixed": 0.02, "precision=bf16-true": 0.02}
    for knob, tolerance in tolerances.items():
        run = make_run(*knobs, f"trainer.{knob}")
        run.train()
        found, kinds = result(run)
        for name in whole if tolerance < 0.01 else ("train/loss", "local/mean/loss"):
            assert found[name] == pytest.approx(whole[name], rel=tolerance), (knob, name)
        assert torch.bfloat16 in kinds if knob == "precision=bf16-true" else kinds == wide


# Validation


def test_validation_comes_when_due_and_once_at_the_end_and_changes_no_weight(make_run, monkeypatch, trained):
    seen, genuine = [], TrainingModule.on_validation_epoch_end

    def validated(self):
        genuine(self)
        seen.append((self.trainer.global_step, dict(self.validation)))

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", validated)
    for every, accumulate, steps in (("null", 1, [6]), (2, 1, [2, 4, 6]), (4, 2, [4, 6])):
        seen.clear()
        run = make_run(f"evaluation.every={every}", f"trainer.accumulate_grad_batches={accumulate}")
        result = run.train()
        assert [step for step, _ in seen] == steps
        assert seen[-1][1].items() <= result["metrics"].items()
        if accumulate == 1:
            assert measured(result) == measured(trained.pre_norm.result()), "bit for bit"
            assert_same(weights(run), weights(trained.pre_norm))


# Tracking


def test_a_run_that_goes_on_stays_one_mlflow_run_which_has_it_all(make_run, tracked, store_uri, interrupt):
    knobs, client = [*tracked, "callbacks.checkpoint.every_n_steps=2"], MlflowClient(store_uri)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        make_run(*knobs).train()
    run_id = RunFolder(make_run(*knobs).directory).run_id
    assert client.get_run(run_id).info.status == "KILLED"
    interrupt(None)
    result = make_run(*knobs).train()
    assert result["run_id"] == run_id
    recorded = client.get_run(run_id)
    tags, params = recorded.data.tags, recorded.data.params
    assert recorded.info.status == "FINISHED" and tags["versions.torch"] == torch.__version__ and "error" not in tags
    assert (params["model.d"], params["seed"], params["residual"]) == ("32", "0", tags["mode"]) and len(params) < 30
    assert recorded.data.metrics == pytest.approx(result["metrics"])
    curve = history(store_uri, run_id, "train/loss")
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6] and curve[-1][1] == result["metrics"]["train/loss"]
    assert [file.path for file in client.list_artifacts(run_id, "checkpoints")] == ["checkpoints/step=000006.ckpt"]
