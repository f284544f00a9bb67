"""Tokenise the training text and the validation sets into memory-mapped shards, once.

A run does this by itself; preparing first is for large corpora and for machines that share a cache.

example:
  hcexp prepare
  hcexp prepare data=local data.files=my/texts evaluation=local evaluation.files=my/held_out
"""

from collections.abc import Sequence

from hcexp.cli.arguments import add_overrides, parse, parser
from hcexp.cli.quiet import quiet


def main(arguments: Sequence[str]) -> int:
    options = parser("prepare", __doc__)
    add_overrides(options)
    chosen = parse(options, arguments)
    quiet()
    from hcexp.run import Run, compose

    run = Run(compose(chosen.overrides), chosen.overrides)
    run.prepare()
    store = run.data.store
    print(f"{store.tokens:,} tokens, {store.documents:,} documents, {store.bytes:,} bytes of text in {store.folder}")
    print(f"{run.data.sequences:,} sequences of {run.data.sequence_length} tokens an epoch")
    print(f"validation suite {run.suite.name}: {', '.join(run.suite.names)}")
    return 0
