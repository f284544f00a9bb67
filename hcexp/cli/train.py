"""Train one run and record it in MLflow.

The run is named by its configuration: a finished one is not run again, an interrupted one goes on.

example:
  hcexp train residual=dhc residual.n=4 scale=tiny
  hcexp train residual=shc seed=1 steps=100 optimizer.lr=1e-3
  hcexp train data=local data.files=my/texts evaluation=local evaluation.files=my/held_out
"""

from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser
from hcexp.cli.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    options = parser("train", __doc__)
    options.add_argument("--config", action="store_true", help="print the whole configuration and stop")
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    from lightning.pytorch.utilities import rank_zero_only

    from hcexp.cli.budget import quick_look
    from hcexp.configuration import compose
    from hcexp.run import Run

    config = compose(chosen.overrides)
    if chosen.config:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(config), end="")
        return 0
    run = Run(config, chosen.overrides)
    before = run.result()["state"]
    result = run.train()
    if rank_zero_only.rank:  # the first of several processes says it all
        return 0
    if before == "finished":
        print("this run was finished before; its result:")
    for name, value in sorted(result["metrics"].items()):
        print(f"{name:42} {value:,.4f}" if isinstance(value, float) else f"{name:42} {value:,}")
    tasks = ["downstream"] if run.downstream.names else []
    if look := quick_look(config, [run.suite.name, *tasks]):
        print(f"evaluation was {look}")
    print(f"run {run.directory}" + ("  (hcexp ui shows it in MLflow)" if result.get("run_id") else ""))
    return 0
