"""Trains runs one after the other in each of two processes that torchrun has started.

Reads a list of jobs from a file of JSON, and writes what comes of each into a folder, a file a job and process.
"""

import json
import os
import shutil
import signal
import sys
from functools import partialmethod
from pathlib import Path

import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh

from hcexp.configuration import compose
from hcexp.run.module import TrainingModule
from hcexp.run.run import Run

RANK, COMPILE = int(os.environ["RANK"]), nn.Module.compile
torch.set_num_threads(1)


def train(overrides, checkpoint=None, sigterm=None, backend="inductor"):
    """Train a run, from a copy of a checkpoint if one is given; in step `sigterm` the second process is sent one."""
    nn.Module.compile = partialmethod(COMPILE, backend=backend)
    run = Run(compose(overrides), overrides)
    if checkpoint and RANK == 0:
        copy(Path(checkpoint), run.directory / "checkpoints")
    if distributed.is_initialized():
        distributed.barrier()
    genuine = TrainingModule.training_step

    def step(self, batch, batch_idx):
        if self.trainer.global_step == sigterm and self.trainer.global_rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return genuine(self, batch, batch_idx)

    TrainingModule.training_step = step
    try:
        result = run.train()
    except (Exception, SystemExit) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        TrainingModule.training_step = genuine
    trained = run.trainer is not None
    return {"result": result, "trained": trained, "checkpoints": sorted(p.name for p in checkpoints(run))}


def checkpoints(run):
    return (run.directory / "checkpoints").iterdir()


def copy(checkpoint, folder):
    folder.mkdir(parents=True)
    if checkpoint.is_dir():
        shutil.copytree(checkpoint, folder / checkpoint.name)
    else:
        shutil.copy(checkpoint, folder)


def start(overrides):
    """The weights that a sharded run starts from beside those of a single process."""
    whole, sharded = (Run(compose(overrides), overrides).model for _ in range(2))
    sharded.shard(init_device_mesh("cpu", (2,)))
    for model in (whole, sharded):
        model.to_empty(device="cpu")
        model.reset_parameters(seed=3)
    pairs = zip(whole.named_parameters(), sharded.parameters(), strict=True)
    different = [name for (name, one), parts in pairs if not torch.equal(one, parts.full_tensor())]
    here = sum(parameter.to_local().numel() for parameter in sharded.parameters())
    return {"different": different, "here": here, "all": sum(p.numel() for p in whole.parameters())}


if __name__ == "__main__":
    jobs, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    for name, (action, arguments) in jobs.items():
        outcome = {"train": train, "start": start}[action](**arguments)
        (folder / f"{name}.{RANK}.json").write_text(json.dumps(outcome))
