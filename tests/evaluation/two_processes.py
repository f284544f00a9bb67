"""Scores a task in two processes that talk over gloo; each writes what it gets into the folder that is given."""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing import start_processes

from hcexp.data import TextTokenizer
from hcexp.evaluation import Downstream


class Bigram(nn.Module):
    """Logits of a token are its row, and differ from row to row."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(4096, 4096)
        with torch.no_grad():
            self.rows.weight.copy_(torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0)))

    def forward(self, tokens):
        return self.rows(tokens)


def prepared() -> Downstream:
    downstream = Downstream(["copa"], documents=70, batch_size=1)
    downstream.prepare(TextTokenizer(), 256)
    return downstream


def work(rank: int, downstream: Downstream, model: nn.Module, folder: Path) -> None:
    init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    (folder / f"{rank}.json").write_text(json.dumps(downstream.score(model, "copa", rank, 2)))
    destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    start_processes(work, (prepared(), Bigram(), Path(sys.argv[1])), nprocs=2, start_method="fork")
