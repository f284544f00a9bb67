"""Draw the paper's figures of trained language models: what their connections, streams and gradients do, and how they
got there.

Every figure is written as PNG and SVG, and its numbers as CSV, into `analysis` in the run's folder, and kept with the
run in MLflow. What is measured is measured on the beginnings of the run's own validation sets. A checkpoint that was
analysed is not analysed again, unless more or less is to be read; its curves are read anew.

Several runs also stand beside each other, in figures of their own. Runs that differ in nothing but their seed are one
line, and two of one seed are two, called by their data.seed, their code or their folder; the first run, or that of
--baseline, is what the others are compared with: the convergence ratio is the tokens of the baseline over those at
which another run first has the baseline's final loss, paired by seed.

example:
  hcexp analyse runs/0123456789abcdef
  hcexp analyse runs/0123456789abcdef runs/fedcba9876543210 --to figures
  hcexp analyse runs/0123456789abcdef/checkpoints/step=000100.ckpt --tokens 10000
"""

from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import parser, run_folder, whole

RUNS = "a run, by its folder or how its name begins; or a checkpoint"


def main(arguments: Sequence[str]) -> int:
    options = parser("analyse", __doc__)
    options.add_argument("runs", nargs="+", type=run_folder, metavar="RUN|CHECKPOINT", help=RUNS)
    options.add_argument("--to", type=Path, metavar="FOLDER", help="where to write (default: in the run's folder)")
    options.add_argument(
        "--baseline", type=run_folder, metavar="RUN", help="what the others are compared with: the first"
    )
    options.add_argument("--tokens", type=whole, default=2048, help="tokens a validation set (default: 2048)")
    options.add_argument("--documents", type=whole, help="documents a validation set (default: all)")
    chosen = options.parse_intermixed_args(arguments)
    from hcexp.analysis.checkpoint import Amount
    from hcexp.analysis.together import analyse_together
    from hcexp.tables.terminal import say

    paths = [*([chosen.baseline] if chosen.baseline else []), *chosen.runs]
    paths = list({path.resolve(): path for path in paths}.values())
    analyse_together(paths, Amount(chosen.documents, chosen.tokens), say, chosen.to)
    return 0
