"""A network as a model of lm-evaluation-harness; import it late, for it needs `lm_eval`."""

from collections.abc import Iterator, Sequence

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from hcexp.data import TextTokenizer

# A request as the harness gives it on: its texts, which nobody needs here, context and continuation.
Encoded = tuple[tuple[str, str] | None, list[int], list[int]]


class HarnessModel(TemplateLM):
    """Scores and continues texts with any module that maps tokens (batch, seq) to logits (batch, seq, vocabulary).

    The harness's own class for `transformers` takes neither such a module nor its tokenizer, and needs `accelerate`.

    The module has to be causal, since rows are padded behind. It runs in evaluation mode, in the precision and on
    the device of its parameters, in one process. Texts longer than `sequence_length` lose tokens on the left; a
    continuation is never cut. The token that ends a document stands before a text without context.
    """

    def __init__(self, model: nn.Module, tokenizer: TextTokenizer, *, sequence_length: int, batch_size: int = 16):
        super().__init__()
        for name, value in {"sequence_length": sequence_length, "batch_size": batch_size}.items():
            if value < 1:
                raise ValueError(f"{name}={value}: allowed is at least 1")
        self.model, self.text_tokenizer = model.eval(), tokenizer
        self.max_length, self.batch_size = sequence_length, batch_size
        self._device = next(model.parameters()).device

    @property
    def eot_token_id(self) -> int:
        return self.text_tokenizer.eos_id

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs) -> list[int]:
        """The ids of a text; it gets no special token, and has none."""
        (ids,) = self.text_tokenizer.encode([string])
        return ids.tolist()

    def _loglikelihood_tokens(
        self, requests: Sequence[Encoded], disable_tqdm: bool = False, **kwargs
    ) -> list[tuple[float, bool]]:
        """Of each continuation its log-likelihood, in nats, and whether it is the most probable token throughout."""
        # Continuations that are read alike, as the answers of one token to a question, share a row.
        readers: dict[tuple[int, ...], list[int]] = {}
        for number, (_, context, continuation) in enumerate(requests):
            length = max(self.max_length, len(continuation))
            readers.setdefault(tuple((context + continuation)[-length - 1 : -1]), []).append(number)
        answers = [(0.0, True)] * len(requests)
        for texts in self._batches(readers, disable_tqdm):
            for text, logits in zip(texts, self._logits(texts), strict=True):
                for number in readers[text]:
                    continuation = requests[number][2]
                    found = logits[len(text) - len(continuation) : len(text)].float().log_softmax(-1)
                    tokens = torch.tensor(continuation, dtype=torch.int64, device=self.device)
                    nats = found.gather(-1, tokens.unsqueeze(-1)).double().sum().item()
                    answers[number] = (nats, found.argmax(-1).equal(tokens))
        return answers

    def loglikelihood_rolling(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[float]:
        """The log-likelihood of each whole text, in nats, every token predicted once."""
        windows: list[Encoded] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0])
            for window in get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, context_len=1):
                windows.append((None, *make_disjoint_window(window)))
                owners.append(number)
        sums = [0.0] * len(requests)
        for number, (nats, _) in zip(owners, self._loglikelihood_tokens(windows, disable_tqdm), strict=True):
            sums[number] += nats
        return sums

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The most probable token again and again, up to a stop string, which is left out, or the task's limit.

        Raises ValueError for a task that asks for random tokens.
        """
        prompts = {i: self.tok_encode(request.args[0]) or [self.eot_token_id] for i, request in enumerate(requests)}
        texts = [""] * len(requests)
        for batch in self._batches(prompts, disable_tqdm, length=lambda i: len(prompts[i])):
            for i, text in zip(batch, self._continue([(prompts[i], requests[i].args[1]) for i in batch]), strict=True):
                texts[i] = text
        return texts

    def _continue(self, batch: Sequence[tuple[list[int], dict]]) -> list[str]:
        """The texts that follow prompts; there is no cache of keys and values, every token costs a whole pass."""
        options = [normalize_gen_kwargs(keys) for _, keys in batch]
        if any(option["do_sample"] for option in options):
            raise ValueError("this task draws random tokens (do_sample): allowed are tasks that generate greedily")
        texts: list[str] = [""] * len(batch)
        written: list[list[int]] = [[] for _ in batch]
        running = [i for i, option in enumerate(options) if option["max_gen_toks"] > 0]
        while running:
            reads = [tuple((batch[i][0] + written[i])[-self.max_length :]) for i in running]
            ends = torch.tensor([len(read) - 1 for read in reads], device=self.device)
            tokens = self._logits(reads)[torch.arange(len(reads), device=self.device), ends].argmax(-1).tolist()
            for i, token in zip(tuple(running), tokens, strict=True):
                written[i].append(token)
                texts[i] = self.text_tokenizer.decode(written[i][:-1] if token == self.eot_token_id else written[i])
                stops = [texts[i].find(stop) for stop in options[i]["until"] if stop and stop in texts[i]]
                texts[i] = texts[i][: min(stops, default=None)]
                if stops or token == self.eot_token_id or len(written[i]) == options[i]["max_gen_toks"]:
                    running.remove(i)
        return texts

    def _batches(self, texts, disable_tqdm: bool, length=len) -> Iterator[list]:
        """The longest first: what runs out of memory does so at once."""
        order = sorted(texts, key=length, reverse=True)
        with tqdm(total=len(order), disable=disable_tqdm, desc="texts") as progress:
            for first in range(0, len(order), self.batch_size):
                yield order[first : first + self.batch_size]
                progress.update(min(self.batch_size, len(order) - first))

    @torch.inference_mode()
    def _logits(self, texts: Sequence[Sequence[int]]) -> Tensor:
        rows = [torch.tensor(text, dtype=torch.int64) for text in texts]
        return self.model(pad_sequence(rows, batch_first=True, padding_value=self.eot_token_id).to(self.device))
