"""Tokenise the training text and the validation sets into flat shards, once.

A run does this by itself; preparing first is for large corpora and for machines that share a cache.
It can be stopped at any time, even killed: the same command goes on. The tokens do not depend on --workers.
Speed: a worker does some 8 MB of text a second with OLMo's tokenizer, and one process reads for all of them.

example:
  hcexp prepare
  hcexp prepare data=local data.files=my/texts evaluation=local evaluation.files=my/held_out
  hcexp prepare scale=1b --workers 16 paths.cache=/scratch/tokens
  hcexp prepare scale=60m data=fineweb_edu data.max_tokens=2_000_000_000 --workers 4
  hcexp prepare data=mixture 'data.mixture={law: {files: my/law, weight: 1}, news: {files: my/news, weight: 3}}'
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hcexp.cli.arguments import add_overrides, parse, parser, whole
from hcexp.cli.quiet import quiet

if TYPE_CHECKING:
    from hcexp.data import TokenStore


def main(arguments: Sequence[str]) -> int:
    options = parser("prepare", __doc__)
    options.add_argument("--workers", type=whole, help="processes that tokenise (default: this one alone)")
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    from hcexp.configuration import compose
    from hcexp.run.run import Run

    if chosen.workers is not None:
        chosen.overrides.append(f"data.workers={chosen.workers}")
    run = Run(compose(chosen.overrides), chosen.overrides)
    run.check()
    run.prepare()
    store = run.data.store
    print(f"{store.tokens:,} tokens, {store.documents:,} documents, {store.bytes:,} bytes of text in {store.folder}")
    if len(store.sources) > 1:
        print_shares(store)
    print(f"{len(run.data.samples):,} sequences of {run.data.sequence_length} tokens an epoch")
    print(f"validation suite {run.suite.name}: {', '.join(run.suite.parts)}")
    return 0


def print_shares(store: "TokenStore") -> None:
    """A table of what the stream has of each source, beside what was asked for."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table("source", box=SIMPLE_HEAD)
    for column in ("asked %", "has %", "tokens", "documents"):
        table.add_column(column, justify="right")
    table.add_column("")
    weights = sum(source["weight"] for source in store.sources.values())
    for name, source in store.sources.items():
        asked, has = source["weight"] / weights, source["tokens"] / store.tokens
        counts = (f"{100 * asked:.2f}", f"{100 * has:.2f}", f"{source['tokens']:,}", f"{source['documents']:,}")
        table.add_row(name, *counts, "ran out" if source["ran_out"] else "")
    Console().print(table)
