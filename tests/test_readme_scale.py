"""The README's section on scale: its commands can run as they stand, and print what it shows."""

import re
import shlex
from pathlib import Path

import pytest

from hcexp.cli import main
from hcexp.configuration import build_model, compose
from hcexp.cost.estimate import micro_batch_of
from hcexp.data.batches import MicroBatches

README = Path(__file__).parents[1] / "README.md"
SECTION = README.read_text(encoding="utf-8").partition("## At the paper's size\n")[2].partition("\n## ")[0]
COMMANDS, SHOWN = re.findall(r"^```(?:sh)?\n(.*?)\n```$", SECTION, re.DOTALL | re.MULTILINE)


def words(line):
    """The verb of a command line, and what comes after it."""
    _, _, after = line.partition("hcexp ")
    verb, *arguments = shlex.split(after)
    return verb, arguments


def overrides(line):
    return [word for word in words(line)[1] if "=" in word]


COMMANDS = COMMANDS.splitlines()
TRAIN = [line for line in COMMANDS if words(line)[0] == "train"]
COST = [line for line in COMMANDS if words(line)[0] == "cost"]
# Of each scale the command that trains it, less the residual mode.
TRAINED = {}
for line in TRAIN:
    (scale,) = [word.removeprefix("scale=") for word in overrides(line) if word.startswith("scale=")]
    TRAINED[scale] = [word for word in overrides(line) if not word.startswith("residual")]


def sequences_at_a_time(config):
    """As the loader of every process cuts the batch."""
    data, trainer = config.data, config.trainer
    processes = trainer.devices * trainer.get("num_nodes", 1)
    for rank in range(processes):
        MicroBatches(None, data.batch_size, config.seed, trainer.accumulate_grad_batches, rank, processes)
    return data.batch_size // (processes * trainer.accumulate_grad_batches)


def test_the_section_has_a_command_for_either_size_and_one_that_counts():
    assert set(TRAINED) == {"1b", "7b"} and len(COST) == 1 and len(TRAIN) + len(COST) == len(COMMANDS)


@pytest.mark.parametrize("line", TRAIN)
def test_a_training_command_builds_and_can_cut_its_batch(line):
    config = compose(overrides(line))
    assert {parameter.device.type for parameter in build_model(config).parameters()} == {"meta"}
    assert sequences_at_a_time(config) == micro_batch_of(config) >= 4
    started = shlex.split(line.partition(" -m ")[0])
    if started[0] == "torchrun":
        assert started[1:] == ["--nproc-per-node", str(config.trainer.devices)]


@pytest.mark.parametrize("line", COST)
def test_a_counting_command_builds(line):
    config = compose(overrides(line))
    assert {parameter.device.type for parameter in build_model(config).parameters()} == {"meta"}
    gpus = int(words(line)[1][words(line)[1].index("--count") + 1])
    assert config.data.batch_size % (gpus * micro_batch_of(config)) == 0


@pytest.mark.slow
def test_the_tables_are_what_the_command_prints(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "130")
    (line,) = COST
    verb, arguments = words(line)
    assert main([verb, *arguments]) == 0
    printed = "\n".join(text.rstrip() for text in capsys.readouterr().out.splitlines())
    memory, time = SHOWN.split("\n\n")
    assert memory.startswith("GB of each of 8 GPUs") and memory in printed
    assert time.startswith("time for 500.0 billion tokens") and time in printed
