"""Make the shipped corpus again: `python -m hcexp.data.corpus.build FOLDER [--output FOLDER]`.

FOLDER holds `train/<domain>.parquet` and `validation/<domain>.parquet` with a `text` column. The same input
gives the same files, byte for byte, with the same versions of pyarrow and tokenizers.
"""

import argparse
import hashlib
from collections import Counter
from itertools import accumulate
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

DOMAINS = ("drama", "factbook", "novel", "speeches")
VOCABULARY_SIZE = 4096
EOS = "<|endoftext|>"
DOMAIN_BYTES = 7_000_000  # no domain above 40 % of the whole
VALIDATION_BYTES = 130_000  # a set; all four are evaluated within the time of a tiny run


def size(document: str) -> int:
    return len(document.encode())


def train_subset(documents: list[str], budget: int) -> list[str]:
    """Documents up to `budget` bytes, drawn in the order of their checksums (so: evenly), in file order."""
    drawn, total = set(), 0
    for i in sorted(range(len(documents)), key=lambda i: hashlib.sha256(documents[i].encode()).digest()):
        if total + size(documents[i]) <= budget:
            drawn.add(i)
            total += size(documents[i])
    return [documents[i] for i in sorted(drawn)]


def validation_subset(documents: list[str], budget: int) -> list[str]:
    """The first whole documents that fit into `budget` bytes, so that none is cut."""
    sizes = accumulate(map(size, documents))
    return [document for document, total in zip(documents, sizes, strict=True) if total <= budget]


def write(documents: list[str], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # One page a column: zstd finds repetitions only within a page.
    pq.write_table(
        pa.table({"text": documents}), path, compression="zstd", compression_level=19, use_dictionary=False,
        write_statistics=False, data_page_size=1 << 30, row_group_size=len(documents), store_schema=False,
    )  # fmt: skip


def train_tokenizer(documents: list[str]) -> Tokenizer:
    """Byte-level BPE without a normaliser: every byte has an entry, so any text comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if tokenizer.get_vocab_size() != VOCABULARY_SIZE:
        raise ValueError(f"the text gives {tokenizer.get_vocab_size()} entries, not {VOCABULARY_SIZE}")
    return tokenizer


def describe(tokenizer: Tokenizer, corpus: dict[str, dict[str, list[str]]], output: Path) -> None:
    """Print the table of `README.md`: documents, bytes, tokens (one EOS a document), unigram entropy."""
    whole = Counter()
    for split, domains in corpus.items():
        for domain, documents in domains.items():
            counts = Counter({tokenizer.token_to_id(EOS): len(documents)})
            for encoding in tokenizer.encode_batch_fast(documents, add_special_tokens=False):
                counts.update(encoding.ids)
            text, file = sum(map(size, documents)), (output / split / f"{domain}.parquet").stat().st_size
            print(f"| {split}/{domain} | {len(documents):,} | {text:,} | {file:,} | {counts.total():,} |")
            if split == "train":
                whole += counts
    shares = np.array(list(whole.values())) / whole.total()
    print(f"unigram entropy of the train tokens: {-shares @ np.log(shares):.4f} nats, {whole.total():,} tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent)
    arguments = parser.parse_args()
    budgets = {"train": (train_subset, DOMAIN_BYTES), "validation": (validation_subset, VALIDATION_BYTES)}
    corpus = {split: {} for split in budgets}
    for split, (subset, budget) in budgets.items():
        for domain in DOMAINS:
            name = f"{split}/{domain}.parquet"
            documents = pq.read_table(arguments.folder / name, columns=["text"])["text"].to_pylist()
            corpus[split][domain] = subset(documents, budget)
            write(corpus[split][domain], arguments.output / name)
    tokenizer = train_tokenizer([document for domain in DOMAINS for document in corpus["train"][domain]])
    tokenizer.save(str(arguments.output / "tokenizer.json"), pretty=False)
    describe(tokenizer, corpus, arguments.output)


if __name__ == "__main__":
    main()
