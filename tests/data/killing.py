"""A preparation in a process of its own, slow enough to be killed in its middle; `python killing.py ARGUMENTS`."""

import json
import sys
import time


def main() -> None:
    from hcexp.data import Mixture, TextSource, TextTokenizer, prepare
    from hcexp.data.text.tokens import encode

    arguments = json.loads(sys.argv[1])
    read = TextSource.read

    def slowly(self, start=(0, 0)):
        for document in read(self, start):
            time.sleep(arguments["pause"])
            yield document

    TextSource.read = slowly
    encode.BATCH_PIECES = 3
    sources = arguments["sources"]
    source = Mixture(sources) if isinstance(sources, dict) else TextSource(sources)
    prepare(
        source,
        TextTokenizer(),
        arguments["cache"],
        max_tokens=arguments["max_tokens"],
        shard_tokens=1000,
        workers=arguments["workers"],
        save_every=0,
    )


if __name__ == "__main__":
    main()
