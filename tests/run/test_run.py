"""A run: its result, how it goes on, what it is paired with and what it leaves."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from lightning.pytorch import Trainer

import hcexp.run.train
from hcexp.callbacks import latest
from hcexp.configuration import build_model, compose
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run
from tests.registered import MODES, residual


def weights(run):
    checkpoint = torch.load(latest(run.directory / "checkpoints"), weights_only=True)
    return checkpoint["state_dict"]


def measured(result):
    """What a run measured, less what the machine's mood has a part in."""
    return {name: value for name, value in result["metrics"].items() if not name.startswith("perf/")}


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


# Results


def test_a_finished_run_leaves_its_result_and_is_not_trained_again(make_run, fits):
    run = make_run("residual=dhc")
    assert run.result()["state"] == "missing"
    result = run.train()
    assert {
        "identity", "state", "error", "metrics", "overrides", "seed", "steps", "tokens", "parameters", "run_id",
        "record", "attempts", "config",
    } == set(result)  # fmt: skip
    assert (result["state"], result["error"]) == ("finished", None)
    assert (result["steps"], result["tokens"]) == (6, 6 * 2 * 32)
    assert result["identity"] == run.identity == run.directory.name
    assert {"git", "versions", "hardware", "code"} == set(result["record"])
    assert result["parameters"] == sum(p.numel() for p in build_model(run.config).parameters())
    assert json.loads((run.directory / "result.json").read_text()) == result

    again = make_run("residual=dhc")
    assert again.train() == result
    assert len(fits) == 1
    assert fits[0]["weights_only"] is True


def test_metrics_have_the_agreed_names_and_bits_per_byte_follow_from_nats(make_run):
    assert not any(n.startswith("perf/") for n in make_run("~callbacks.throughput").train()["metrics"])
    run = make_run("steps=60", "callbacks.throughput.warmup=1", "callbacks.curves.spike_warmup=5")
    metrics = run.train()["metrics"]
    sets = [f"local/{name}/{key}" for name in ("held", "mean") for key in ("loss", "perplexity", "bits_per_byte")]
    train = "tokens loss loss_ema99 grad_norm spikes spike_score grad_norm_spikes grad_norm_spike_score lr".split()
    perf = [f"perf/{name}" for name in ("tokens_per_second", "peak_memory_bytes", "train_seconds")]
    assert set(metrics) == {*sets, *(f"train/{name}" for name in train), *perf}
    (store,) = run.suite._stores.values()
    nats = metrics["local/held/loss"] * (store.tokens - 1)
    assert metrics["local/held/bits_per_byte"] == pytest.approx(
        nats / torch.log(torch.tensor(2.0)).item() / store.bytes
    )
    assert metrics["local/held/perplexity"] == pytest.approx(2.718281828459045 ** metrics["local/held/loss"])


def test_the_result_file_is_written_last(make_run, monkeypatch):
    run, seen = make_run(), {}
    write = hcexp.run.train._write_json

    def spy(path, content):
        seen[path.name] = {p.relative_to(run.directory).as_posix() for p in run.directory.rglob("*")}
        write(path, content)

    monkeypatch.setattr(hcexp.run.train, "_write_json", spy)
    run.train()
    assert list(seen)[-1] == "result.json"
    assert {"config.yaml", "metrics.jsonl", "checkpoints/step=000006.ckpt"} <= seen["result.json"]
    assert "result.json" not in seen["result.json"]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        (["trainer.max_steps=10"], "^trainer.max_steps=10 is not steps=6: set steps alone$"),
        (
            ["trainer.accumulate_grad_batches=4"],
            "data.batch_size=2 cannot be cut evenly .* of 4 micro-batches",
        ),
        (["trainer=ddp", "trainer.devices=3", "trainer.accelerator=cpu"], "cannot be cut evenly over 3 processes"),
    ],
)
def test_what_the_trainer_cannot_do_is_refused_before_anything_is_prepared(make_run, monkeypatch, knobs, said):
    run = make_run(*knobs)
    monkeypatch.setattr(run.data, "prepare", None)
    with pytest.raises(ValueError, match=said):
        run.train()
    assert not run.directory.exists()


def test_data_are_prepared_on_a_machine_without_the_devices(make_run):
    run = make_run("trainer.accelerator=tpu", "trainer.devices=8")  # of a cluster's other nodes
    run.prepare()
    assert run.data.fingerprint and not run.directory.exists()


# Going on


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_interrupted_run_ends_as_if_nothing_had_been(make_run, tmp_path, interrupt, fits, accumulate):
    cut = f"trainer.accumulate_grad_batches={accumulate}"
    knobs = ["residual=dhc", cut, "evaluation.every=4", "callbacks.checkpoint.every_n_steps=2"]
    calm = make_run(*knobs, f"paths.runs={tmp_path}/calm")
    undisturbed = calm.train()
    for error in (KeyboardInterrupt, RuntimeError("power cut")):
        elsewhere = f"paths.runs={tmp_path}/{accumulate if error is KeyboardInterrupt else 'again'}"
        run = make_run(*knobs, elsewhere)
        interrupt(3, error)
        with pytest.raises(type(error) if isinstance(error, Exception) else error):
            run.train()
        failed = run.result()
        assert (failed["state"], failed["error"]) in (("failed", "KeyboardInterrupt"), ("failed", "power cut"))

        interrupt(None)
        resumed = make_run(*knobs, elsewhere)
        assert resumed.directory == run.directory
        result = resumed.train()
        assert fits[-1]["ckpt_path"].name == "step=000002.ckpt"
        assert measured(result) == measured(undisturbed)
        assert_same(weights(resumed), weights(calm))


def test_a_run_stopped_after_its_last_step_only_has_its_validation_to_do(make_run, monkeypatch, fits):
    knob = "evaluation.every=4"
    run = make_run(knob)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "validate", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("stopped")))
        with pytest.raises(RuntimeError, match="stopped"):
            run.train()
    steps = []
    genuine = TrainingModule.training_step
    monkeypatch.setattr(TrainingModule, "training_step", lambda self, *a: (steps.append(1), genuine(self, *a))[1])
    result = make_run(knob).train()
    assert (result["state"], result["steps"], steps) == ("finished", 6, [])
    assert "local/mean/loss" in result["metrics"] and "train/loss" in result["metrics"]


def test_a_loss_that_is_not_finite_fails_the_run_and_keeps_the_last_good_checkpoint(make_run, tmp_path, monkeypatch):
    undisturbed = make_run(f"paths.runs={tmp_path}/calm").train()
    genuine = TrainingModule.training_step

    def poisoned(self, batch, batch_idx):
        outputs = genuine(self, batch, batch_idx)
        if self.trainer.global_step != 4:
            return outputs
        nan = outputs["loss"] * float("nan")
        return {"loss": nan, "reported": {"loss": nan.detach()}}

    knobs = ["callbacks.checkpoint.every_n_steps=2", "callbacks.checkpoint.keep=5"]
    run = make_run(*knobs)
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", poisoned)
        with pytest.raises(FloatingPointError, match="loss is nan at step 5"):
            run.train()
    failed = run.result()
    assert failed["state"] == "failed" and "step 5" in failed["error"] and failed["metrics"] == {}
    assert latest(run.directory / "checkpoints").name == "step=000004.ckpt"
    assert all(tensor.isfinite().all() for tensor in weights(run).values())

    result = make_run(*knobs).train()  # a failed run is tried again
    assert result["state"] == "finished" and result["error"] is None
    assert measured(result) == measured(undisturbed)


def test_an_old_failure_does_not_outlive_the_next_attempt(make_run, interrupt, monkeypatch):
    run = make_run()
    interrupt(1, RuntimeError("the first failure"))
    with pytest.raises(RuntimeError):
        run.train()
    assert run.result()["error"] == "the first failure"
    monkeypatch.setattr(Run, "prepare", lambda self: (_ for _ in ()).throw(ValueError("the second")))
    with pytest.raises(ValueError, match="the second"):
        make_run().train()
    assert run.result()["state"] == "missing"


@pytest.mark.slow
def test_two_processes_end_like_one(make_run, minute, tmp_path):
    whole = make_run("residual=dhc", f"paths.runs={tmp_path}/whole").train()
    arguments = [*minute, "residual=dhc", "trainer.devices=2"]
    root = Path(hcexp.__file__).parents[1]
    subprocess.run([sys.executable, "-m", "hcexp", "train", *arguments], cwd=root, check=True, timeout=120)
    shared = Run(compose(arguments), arguments).result()
    assert shared["state"] == "finished"
    assert measured(shared) == pytest.approx(measured(whole), rel=1e-3)


@pytest.mark.parametrize(
    "overrides",
    [
        ["optimizer.lr=0"],
        ["schedule.warmup=60"],
        ["callbacks.curves.every=0"],
        ["data.sequence_length=100000"],
        ["callbacks.throughput=null"],
    ],
    ids=str,
)
def test_a_run_that_cannot_start_leaves_no_folder(make_run, overrides):
    run = make_run(*overrides)
    with pytest.raises(Exception, match="lr|warmup|every|sequence_length|throughput=None is no callback"):
        run.train()
    assert not run.directory.exists()


# Pairing


SHRINKS = "output_init_exponent"


def test_equal_seeds_give_every_mode_the_same_backbone_and_batches(make_run, monkeypatch):
    batches, backbones = [], []
    genuine, configure = TrainingModule.training_step, TrainingModule.configure_model

    def step(self, batch, batch_idx):
        batches[-1].append(batch)
        return genuine(self, batch, batch_idx)

    def kept(self):
        configure(self)
        if len(backbones) < len(batches):
            backbones.append({n: p.detach().clone() for n, p in self.model.named_parameters() if "stream." not in n})

    monkeypatch.setattr(TrainingModule, "training_step", step)
    monkeypatch.setattr(TrainingModule, "configure_model", kept)
    # The factor on the output projections is the one thing that a mode may ask of the backbone.
    modes = [[f"residual={mode}"] for mode in MODES]
    modes = [[*m, *(["residual.output_init_exponent=0"] if SHRINKS in residual(*m).keywords else [])] for m in modes]
    for mode in [*modes, ["seed=1"]]:
        batches.append([])
        make_run("steps=3", *mode).train()
    *same, other = zip(batches, backbones, strict=True)
    for seen, backbone in same:
        assert_same(backbone, same[0][1])
        assert all(
            torch.equal(a, b)
            for mine, first in zip(seen, same[0][0], strict=True)
            for a, b in zip(mine, first, strict=True)
        )
    assert not torch.equal(other[0][0][0], same[0][0][0][0])
    assert not torch.equal(other[1]["embedding.weight"], same[0][1]["embedding.weight"])


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_trains_alike_in_every_precision_and_in_micro_batches(make_run, mode):
    def trained(knob):
        run = make_run(f"residual={mode}", knob)
        result = run.train()
        return measured(result), {t.dtype for t in weights(run).values() if t.is_floating_point()}

    whole, wide = trained("trainer.precision=32-true")
    cut, _ = trained("trainer.accumulate_grad_batches=2")
    assert whole == pytest.approx(cut, rel=2e-4)
    for precision in ("bf16-mixed", "bf16-true"):
        rounded, kinds = trained(f"trainer.precision={precision}")
        for name in ("train/loss", "local/mean/loss"):
            assert rounded[name] == pytest.approx(whole[name], rel=0.02)
        assert torch.bfloat16 in kinds if precision == "bf16-true" else kinds == wide


# Validation


@pytest.mark.parametrize(("every", "accumulate", "steps"), [("null", 1, [6]), (2, 1, [2, 4, 6]), (4, 2, [4, 6])])
def test_validation_comes_when_due_and_once_at_the_end(make_run, monkeypatch, every, accumulate, steps):
    seen, genuine = [], TrainingModule.on_validation_epoch_end

    def validated(self):
        genuine(self)
        seen.append((self.trainer.global_step, dict(self.validation)))

    monkeypatch.setattr(TrainingModule, "on_validation_epoch_end", validated)
    result = make_run(f"evaluation.every={every}", f"trainer.accumulate_grad_batches={accumulate}").train()
    assert [step for step, _ in seen] == steps
    assert seen[-1][1].items() <= result["metrics"].items()


def test_a_run_repeats_bit_for_bit_and_evaluation_in_between_changes_no_weight(make_run, tmp_path):
    one, two = make_run(), make_run(f"paths.runs={tmp_path}/again")
    assert measured(one.train()) == measured(two.train())
    often = make_run("evaluation.every=2")
    assert measured(often.train()) == measured(one.result())
    for run in (two, often):
        assert_same(weights(run), weights(one))


# Options


def test_the_z_loss_is_minimised_and_not_reported(make_run):
    plain, with_z = make_run("steps=2").train(), make_run("steps=2", "objective.z_loss=0.1", "callbacks.curves.every=1")
    first = {}

    def keep(self, batch, batch_idx, genuine=TrainingModule.training_step):
        outputs = genuine(self, batch, batch_idx)
        first.setdefault("outputs", outputs)
        return outputs

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", keep)
        result = with_z.train()
    assert first["outputs"]["loss"] > first["outputs"]["reported"]["loss"] + 1
    # The first step's cross-entropy is that of the untrained weights, whatever is minimised.
    assert result["metrics"]["train/loss"] == pytest.approx(plain["metrics"]["train/loss"], rel=0.1)
    assert result["metrics"]["train/grad_norm"] != plain["metrics"]["train/grad_norm"]


def test_compile_without_a_compiler_says_so_before_anything_starts(make_run, monkeypatch):
    monkeypatch.setattr(hcexp.run.train, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    run = make_run("compile=true")
    with pytest.raises(FileNotFoundError, match=r"^compile=true needs a C\+\+ compiler, and g\+\+ is not there[^\n]*$"):
        run.train()
    assert not run.directory.exists()


# Tracking


def test_a_run_that_goes_on_stays_one_mlflow_run(make_run, tracked, store_uri, interrupt):
    from mlflow import MlflowClient

    from tests.mlflow_curves import history

    knobs = [*tracked, "callbacks.checkpoint.every_n_steps=2"]
    run = make_run(*knobs)
    interrupt(3)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    interrupt(None)
    first = json.loads((run.directory / "tracking.json").read_text())
    client = MlflowClient(store_uri)
    assert client.get_run(first["run_id"]).info.status == "KILLED"

    result = make_run(*knobs).train()
    assert result["run_id"] == first["run_id"]
    recorded = client.get_run(result["run_id"])
    assert recorded.info.status == "FINISHED" and "error" not in recorded.data.tags
    assert (recorded.data.params["model.d"], recorded.data.params["seed"]) == ("32", "0")
    assert len(recorded.data.params) < 30 and recorded.data.tags["mode"] == recorded.data.params["residual"]
    assert recorded.data.metrics["local/mean/loss"] == result["metrics"]["local/mean/loss"]
    curve = history(store_uri, result["run_id"], "train/loss")
    assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    assert curve[-1][1] == result["metrics"]["train/loss"]


def test_a_servers_password_is_not_written_down(make_run, interrupt, monkeypatch):
    from hcexp.tracking.logger import FileLogger

    monkeypatch.setattr("hcexp.tracking.logger.MLflowLogger", FileLogger)
    run = make_run("tracking=mlflow", "tracking.uri='https://me:secret@host/path'", "steps=2")
    run.train()
    for path in run.directory.glob("*.*"):
        assert path.is_dir() or "secret" not in path.read_text(), path


def test_overrides_are_kept_as_they_were_given(make_run, minute):
    result = make_run("seed=1", "steps=2").train()
    assert result["overrides"] == [*minute, "seed=1", "steps=2"]
    assert OverridesParser.create().parse_overrides(result["overrides"])
    assert Run(compose(result["overrides"]), result["overrides"]).identity == result["identity"]


def test_a_run_that_stops_before_its_last_step_is_not_finished(make_run):
    run = make_run("+trainer.max_epochs=1", "+trainer.limit_train_batches=3")
    with pytest.raises(ValueError, match="training ended at step 3 of steps=6"):
        run.train()
    assert run.result()["state"] == "failed"


def test_final_metrics_are_in_mlflow(make_run, tracked, store_uri):
    from mlflow import MlflowClient

    result = make_run(*tracked).train()
    client = MlflowClient(store_uri)
    recorded = client.get_run(result["run_id"]).data
    assert recorded.metrics == pytest.approx(result["metrics"])
    assert recorded.tags["versions.torch"] == torch.__version__
    kept = {artifact.path for artifact in client.list_artifacts(result["run_id"], "checkpoints")}
    assert kept == {"checkpoints/step=000006.ckpt"}


def test_a_damaged_result_is_named(make_run):
    run = make_run()
    run.directory.mkdir(parents=True)
    (run.directory / "result.json").write_text("{")
    with pytest.raises(ValueError, match="result.json is damaged .* delete it"):
        run.train()
    assert (run.directory / "result.json").exists()


def test_clipping_by_value_is_refused(make_run):
    with pytest.raises(ValueError, match="trainer.gradient_clip_algorithm=value is not supported: choose norm"):
        make_run("trainer.gradient_clip_val=1.0", "+trainer.gradient_clip_algorithm=value").train()
