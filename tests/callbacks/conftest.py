import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.data import DataLoader


def rows(start, length, bad=()):
    """One row a batch; row i is a pure function of i, or nan where the test asks for it."""
    made = [torch.randn(4, generator=torch.Generator().manual_seed(i)) for i in range(start, length)]
    return DataLoader([row * float("nan") if i in bad else row for i, row in enumerate(made, start)], batch_size=1)


class Regression(L.LightningModule):
    """A step of microseconds that behaves like the objectives: no self.log, `grad_norm` after each step."""

    tokens_per_step, samples_per_step = 1000, 10

    def __init__(self, length=200, bad=(), start=0, validation=0):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, 1)
        self.length, self.bad, self.start, self.validation = length, bad, start, validation
        self.seen, self.grad_norms, self.validated = [], [], []

    def training_step(self, batch, batch_idx):
        loss = (self.layer(batch) ** 2).mean()
        self.seen.append(loss.item())
        # What is minimised may hold more than what is reported, such as a z-loss.
        return {"loss": loss + 5, "reported": {"loss": loss.detach(), "aux": batch.sum()}}

    def validation_step(self, batch, batch_idx):
        self.validated.append(self.trainer.global_step)

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        self.grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters(), 1.0).detach()
        self.grad_norms.append(self.grad_norm.item())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def train_dataloader(self):
        return rows(self.start, self.length, self.bad)  # a resumed run skips what it has seen

    def val_dataloader(self):
        return rows(0, self.validation or 1)


class Memory(DummyLogger):
    """Keeps what is logged: name -> [(step, value)]."""

    def __init__(self):
        super().__init__()
        self.curves = {}

    def log_metrics(self, metrics, step=None):
        for name, value in metrics.items():
            self.curves.setdefault(name, []).append((step, value))


@pytest.fixture
def regression():
    return Regression


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
def fit(tmp_path):
    """Train a module for some steps with callbacks; the finished Trainer is returned."""

    def run(module, callbacks, steps, logger=False, ckpt=None, **knobs):
        knobs = {"limit_val_batches": 0, "enable_progress_bar": False, "default_root_dir": tmp_path} | knobs
        checkpointing = any(isinstance(callback, Checkpoint) for callback in callbacks)
        knobs |= {"enable_model_summary": False, "enable_checkpointing": checkpointing, "num_sanity_val_steps": 0}
        trainer = L.Trainer(max_steps=steps, callbacks=callbacks, logger=logger, accelerator="cpu", devices=1, **knobs)
        trainer.fit(module, ckpt_path=ckpt)
        return trainer

    return run
