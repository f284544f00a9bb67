"""Train one run and record it in MLflow.

The run is named by its configuration: a finished one is not run again, an interrupted one goes on. With --resume RUN
the configuration is the one that lies in the folder RUN; overrides may then only change what has no effect on the
result (paths, tracking, workers, …), or on how many devices it is computed.

With -m every override may list values (seed=0,1): Hydra's own sweeper and launcher then train the whole grid.

example:
  hcexp train residual=dhc residual.n=4 scale=tiny
  hcexp train -m residual=pre_norm,dhc seed=0,1
  hcexp train residual=shc seed=1 steps=100 optimizer.lr=1e-3
  hcexp train --resume runs/0123456789abcdef trainer.devices=2
  hcexp train data=local data.files=my/texts evaluation=local evaluation.files=my/held_out
"""

import signal
import sys
from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser, run_folder


def main(arguments: Sequence[str]) -> int:
    options = parser("train", __doc__)
    options.add_argument("--config", action="store_true", help="print the whole configuration and stop")
    options.add_argument("-m", "--multirun", action="store_true", help="train every combination of the values listed")
    options.add_argument(
        "--resume", metavar="RUN", type=run_folder, help="go on with a run, by its folder or how its name begins"
    )
    add_overrides(options)
    chosen = parse(options, arguments)
    if chosen.multirun:
        if chosen.config or chosen.resume:
            options.error("-m trains a grid: leave --config and --resume out")
        from hcexp.cli.multirun import multirun

        return multirun(chosen.overrides)
    from hcexp.configuration import compose

    config = None if chosen.resume else compose(chosen.overrides)  # a slip is told before anything slow is imported
    from hcexp.run.resume import resumed
    from hcexp.run.run import Run

    this = Run(config, chosen.overrides) if config else resumed(chosen.resume, chosen.overrides)
    if chosen.config:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(this.config), end="")
        return 0
    from lightning.pytorch.utilities import rank_zero_only
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from hcexp.run.describe import quick_look

    this.check()
    before = this.result()["state"]
    try:
        result = this.train()
    except SIGTERMException:  # an exit of status 0
        print("hcexp: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 128 + signal.SIGTERM
    if rank_zero_only.rank:  # the first of several processes says it all
        return 0
    if result["state"] == "pruned":
        print(f"this run was pruned at step {result['steps']}; its result so far:")
    if before == "finished":
        print("this run was finished before; its result:")
    for name, value in sorted(result["metrics"].items()):
        print(f"{name:42} {value:,.4f}" if isinstance(value, float) else f"{name:42} {value:,}")
    tasks = ["downstream"] if this.downstream.names else []
    if look := quick_look(this.config, [this.suite.name, *tasks]):
        print(f"evaluation was {look}")
    print(f"run {this.directory}" + ("  (hcexp ui shows it in MLflow)" if result.get("run_id") else ""))
    return 0
