"""Show in what runs differ: their configurations, what made them, and their final metrics.

RUN is the folder of a run, or how its name begins. The first is what the others are compared with.

example:
  hcexp compare runs/0123456789abcdef runs/fedcba9876543210
  hcexp compare 0123 fedc 89ab
"""

from collections.abc import Sequence
from pathlib import Path

from hcexp.cli.arguments import add_overrides, is_override, parser


def main(arguments: Sequence[str]) -> int:
    options = parser("compare", __doc__)
    options.usage = "%(prog)s RUN RUN [RUN ...] [paths.runs=FOLDER]"
    add_overrides(options)
    given = options.parse_intermixed_args(arguments).overrides
    words = [word for word in given if not is_override(word)]
    if len(words) < 2:
        options.error("name two runs at least: hcexp compare runs/0123456789abcdef runs/fedcba9876543210")
    from hcexp.configuration import compose
    from hcexp.run.comparison import comparison, notes
    from hcexp.run.folder import find_run
    from hcexp.tables.terminal import console, say, show

    folder = Path(compose([word for word in given if word not in words]).paths.runs)
    runs = [find_run(word, folder) for word in words]
    for table in comparison(runs):
        if table.rows:
            show(table, console())
        else:
            print(f"{table.columns[0].header}: no difference")
    for note in notes(runs):
        say(note)
    return 0
