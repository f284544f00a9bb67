import lightning.pytorch as L
import pytest
import torch

from hcexp.cost.workload import autocast

QUIET = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


@pytest.mark.parametrize(("mixed", "precision"), [(False, "32-true"), (True, "bf16-mixed")])
def test_it_is_what_lightning_puts_around_a_training_step(mixed, precision):
    lightnings = L.Trainer(accelerator="cpu", precision=precision, **QUIET).precision_plugin.train_step_context()

    def found(context):
        with context:
            on = torch.is_autocast_enabled("cpu")
            return on, torch.get_autocast_dtype("cpu"), on and torch.is_autocast_cache_enabled()

    assert found(autocast(mixed)) == found(lightnings) == (mixed, torch.bfloat16, False)
