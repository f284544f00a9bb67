"""Measure step times of residual modes on this machine, as ratios to pre-norm.

A step is forward, loss, backward, clipping and AdamW. All models are timed in turn, round by round, and the ratio is
the median over rounds: other work on the machine falls on all alike. Overrides change the network and the modes.

example:
  hcexp bench                                   d=256, 8 blocks, sequence 256, batch 8; eager and compiled
  hcexp bench --modes shc,dhc --eager residual.n=2
  hcexp bench model=20m data.sequence_length=512
"""

from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser, whole
from hcexp.cli.quiet import quiet

NETWORK = ("model.d=256", "model.layers=8", "model.heads=8", "model.inner=1024", "data.batch_size=8")
BASELINE = "pre_norm"


def main(arguments: Sequence[str]) -> int:
    options = parser("bench", __doc__)
    options.add_argument("--modes", default="shc,dhc", help="residual modes beside pre_norm (default: shc,dhc)")
    options.add_argument("--rounds", type=whole, default=15, help="steps of each model (default: 15)")
    options.add_argument("--eager", action="store_true", help="leave the compiled models out")
    options.add_argument("--threads", type=whole, help="CPU threads (default: torch's)")
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    import statistics

    import torch
    from rich.console import Console
    from rich.table import Table

    from hcexp.cli.steps import Backbone, TrainingStep, device_name, measured_device
    from hcexp.configuration import compose
    from hcexp.cost import interleave, ratio
    from hcexp.run.train import require_compiler

    if not chosen.eager:
        require_compiler()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    mode_knobs = [o for o in chosen.overrides if o.startswith("residual.")]
    network = [o for o in chosen.overrides if o not in mode_knobs]
    if not any(o.startswith("model=") for o in network):
        network = [*NETWORK, *network]
    ways = ("eager",) if chosen.eager else ("eager", "compiled")
    modes = {BASELINE: [], **{mode: mode_knobs for mode in chosen.modes.split(",")}}
    configs = {mode: compose([*network, f"residual={mode}", *knobs]) for mode, knobs in modes.items()}
    backbone = Backbone(measured_device(configs[BASELINE]))
    steps = {
        (mode, way): TrainingStep(config, backbone, compiled=way == "compiled")
        for way in ways
        for mode, config in configs.items()
    }
    seconds = interleave(steps, rounds=chosen.rounds)
    table = Table(
        title=f"training step on {device_name(backbone.device)}, median of {chosen.rounds} interleaved rounds",
        title_justify="left",
    )
    for column in ("mode", "", "milliseconds", f"over {BASELINE}", f"over eager {BASELINE}"):
        table.add_column(column, justify="left" if column in ("mode", "") else "right")
    for (mode, way), own in seconds.items():
        same, eager = seconds[BASELINE, way], seconds[BASELINE, "eager"]
        milliseconds = f"{1000 * statistics.median(own):.1f}"
        table.add_row(mode, way, milliseconds, f"{ratio(own, same):.2f}", f"{ratio(own, eager):.2f}")
    Console().print(table)
    return 0
