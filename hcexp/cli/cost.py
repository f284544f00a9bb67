"""Parameters of a model under a residual mode, and what the mode adds to pre-norm.

Nothing is allocated: any size is answered in seconds.

example:
  hcexp cost model=1b residual=dhc residual.n=4
  hcexp cost model=7b residual=shc residual.n=2
"""

from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser
from hcexp.cli.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    options = parser("cost", __doc__)
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    from rich.console import Console
    from rich.table import Table

    from hcexp.cost import count_parameters
    from hcexp.run import build_model, compose

    config = compose(chosen.overrides)
    # The baseline has the same network; a knob of the mode itself has no place in it.
    network = [o for o in chosen.overrides if not o.lstrip("+~").startswith("residual")]
    plain = compose([*network, "residual=pre_norm"])
    counts, baseline = count_parameters(build_model(config)), count_parameters(build_model(plain))
    more = counts.total - baseline.total

    table = Table(title=f"model={config.choices.model}", title_justify="left")
    for column in ("", "parameters", "of the residual mode", "frozen", "more than pre_norm", "%"):
        table.add_column(column, justify="right" if column else "left")
    table.add_row("pre_norm", f"{baseline.total:,}", f"{baseline.residual:,}", f"{baseline.frozen:,}", "", "")
    if config.residual != plain.residual:
        n = config.residual.get("n")
        label = config.choices.residual + (f" n={n}" if n is not None else "")
        share = f"{100 * more / baseline.total:+.5f}"
        table.add_row(label, f"{counts.total:,}", f"{counts.residual:,}", f"{counts.frozen:,}", f"{more:+,}", share)
    Console().print(table)
    return 0
