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

if TYPE_CHECKING:
    from hcexp.data import TokenStore
    from hcexp.tables.table import Table


def main(arguments: Sequence[str]) -> int:
    options = parser("prepare", __doc__)
    options.add_argument("--workers", type=whole, help="processes that tokenise (default: this one alone)")
    add_overrides(options)
    chosen = parse(options, arguments)
    from hcexp.configuration import compose
    from hcexp.run.run import Run
    from hcexp.tables.terminal import console, show

    if chosen.workers is not None:
        chosen.overrides.append(f"data.workers={chosen.workers}")
    run = Run(compose(chosen.overrides), chosen.overrides)
    run.check()
    run.prepare()
    store = run.data.store
    print(f"{store.tokens:,} tokens, {store.documents:,} documents, {store.bytes:,} bytes of text in {store.folder}")
    if len(store.sources) > 1:
        show(_shares(store), console())
    print(f"{len(run.data.samples):,} sequences of {run.data.sequence_length} tokens an epoch")
    print(f"validation suite {run.suite.name}: {', '.join(run.suite.parts)}")
    return 0


def _shares(store: "TokenStore") -> "Table":
    """What the stream has of each source, beside what was asked for."""
    from hcexp.tables.table import Column, lay_out

    weights = sum(source["weight"] for source in store.sources.values())
    entries = (
        (Column("source", side="left"), lambda name: name),
        (Column("asked %"), lambda name: f"{100 * store.sources[name]['weight'] / weights:.2f}"),
        (Column("has %"), lambda name: f"{100 * store.sources[name]['tokens'] / store.tokens:.2f}"),
        (Column("tokens"), lambda name: f"{store.sources[name]['tokens']:,}"),
        (Column("documents"), lambda name: f"{store.sources[name]['documents']:,}"),
        (Column("", side="left"), lambda name: "ran out" if store.sources[name]["ran_out"] else None),
    )
    return lay_out("", store.sources, entries)
