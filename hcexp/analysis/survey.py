"""Everything that is measured of a trained model on tokens, in one pass."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, pad
from torch.utils._pytree import tree_leaves, tree_map

from hcexp.analysis.measures import effective_rank, gains, shares
from hcexp.analysis.passages import Call, Passage, run, watch
from hcexp.analysis.sample import Sample
from hcexp.residual import Coefficients
from hcexp.residual.operator import read, reads_channels
from hcexp.residual.stream import State
from hcexp.residual.unfolding import Unfolded, unfold


class Survey(NamedTuple):
    """Of a model with L sublayers and n streams, the most it ever has, all float64 and on the CPU.

    Means are over every token; samples, (tokens of the sample, …), are of every token too, up to `sample.LIMIT`.

    kinds: of the sublayers.
    tokens: how many there were.
    connections: mean connection matrices, C_0 (L + outputs, embeddings + L) and C (n, L, embeddings + L).
    sublayer_similarity: sample, (…, L - 1): cosine between what sublayers k and k + 1 read, before the norm.
    block_similarity: sample, (…, L / 2 - 1): the same between attention sublayers and the next ones, a block apart.
    B, A_m, A_r: samples of the coefficients, (…, L, n), (…, L, n) and (…, L, n, n).
    sublayer_gains: (2, L): mean gain of each A_r, forward and backward.
    composite_gains: (2, L): mean gain of the products A_r^1 … A_r^k.
    averaged_gains: (2, L): gain of the mean over tokens of these products.
    reads, writes: (L, n): mean share of each stream in A_m, in B.
    ranks: (L + 1,): mean effective rank of the streams before each sublayer, and after the last.
    """

    kinds: tuple[str, ...]
    tokens: int
    connections: Unfolded
    sublayer_similarity: Tensor
    block_similarity: Tensor
    B: Tensor
    A_m: Tensor
    A_r: Tensor
    sublayer_gains: Tensor
    composite_gains: Tensor
    averaged_gains: Tensor
    reads: Tensor
    writes: Tensor
    ranks: Tensor


@torch.no_grad()
def survey(model: nn.Module, batches: Iterable[Any], call: Call = run) -> Survey:
    """Measure a model with a residual `stream`, of any residual mode.

    `batches` are tensors, or tuples of them, whose first axis is that of samples, of any sizes: tokens, (batch, seq).
    Samples are taken one by one, as `call(model, batch of one)`, such as the run's objective. What is held is no more
    than one sample's coefficients, two states, and the samples that are kept.

    Raises ValueError for no tokens at all or streams that are not finite, and what the mode's `coefficients` raise.
    """
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    samples: dict[str, Sample] = defaultdict(Sample)
    count = 0
    for sample in (sample for batch in batches for sample in _one_by_one(batch)):
        measured = _Sample(model, sample, call)
        for name, value in measured.sums().items():
            sums[name] = sums[name] + value.cpu()
        for name, rows in measured.samples().items():
            samples[name].add(rows)
        count += measured.positions
    if not count:
        raise ValueError("no tokens: an analysis is of at least one")
    means = {name: total / count for name, total in sums.items()}
    averaged = torch.stack(gains(means.pop("product")))
    return Survey(
        kinds=model.stream.kinds,
        tokens=count,
        connections=Unfolded(means.pop("C_0"), means.pop("C")),
        averaged_gains=averaged,
        **means,
        **{name: sample.rows for name, sample in samples.items()},
    )


def _one_by_one(batch: Any) -> Iterator[Any]:
    for row in range(len(tree_leaves(batch)[0])):
        sample = tree_map(lambda tensor, row=row: tensor[row : row + 1], batch)
        if tree_leaves(sample)[0].numel():
            yield sample


def connection_matrices(model: nn.Module, batches: Iterable[Tensor]) -> Unfolded:
    """C^(0) and C^(i) of the model's residual mode (Eqs. 20, 27, 29), averaged over all tokens of `batches`, float64.

    Raises what `survey` raises.
    """
    return survey(model, batches).connections


class _Sample:
    """What is measured of one sample: of text, of one sequence."""

    def __init__(self, model: nn.Module, sample: Any, call: Call):
        self.stream = model.stream
        self.coefficients: list[Coefficients] = []
        self.ranks: list[Tensor] = []
        self.sublayer_similarity: list[Tensor] = []
        self.block_similarity: list[Tensor] = []
        self._inputs: dict[str, Tensor] = {}  # of the last sublayer, by how far apart they are compared
        self._last: State = None
        watch(model, lambda: call(model, sample), self._seen)
        self.ranks.append(effective_rank(self._streams(self._last)))

    def _seen(self, passage: Passage) -> None:
        kind = self.stream.kinds[len(self.coefficients)]
        H = self._streams(passage.before)
        B, A_m, A_r = (weights.double() for weights in passage.coefficients)
        axes = 2 if reads_channels(A_m) else 1
        A_m = A_m.expand(*H.shape[:2], *A_m.shape[-axes:])
        self.coefficients.append(
            Coefficients(B.expand(*H.shape[:2], -1), A_m, A_r.expand(*H.shape[:2], *A_r.shape[-2:]))
        )
        self.ranks.append(effective_rank(H))
        x = read(H, A_m)
        if "sublayer" in self._inputs:
            self.sublayer_similarity.append(cosine_similarity(self._inputs["sublayer"], x, dim=-1))
        self._inputs["sublayer"] = x
        if kind == "attention":
            if "block" in self._inputs:
                self.block_similarity.append(cosine_similarity(self._inputs["block"], x, dim=-1))
            self._inputs["block"] = x
        self._last = passage.after

    @property
    def positions(self) -> int:
        """Hidden vectors: tokens."""
        return self.coefficients[0].B.shape[:2].numel()

    def _streams(self, state: State) -> Tensor:
        H = self.stream.streams(state).double()
        if not H.isfinite().all():
            raise ValueError(f"the streams are not finite after {len(self.coefficients)} sublayers: the model diverged")
        return H

    def sums(self) -> dict[str, Tensor]:
        """Sums over the tokens, by the name in `Survey`; `product` is that of the A_r up to each sublayer."""
        B, A_m, A_r = self._stacked()
        products = [A_r[..., 0, :, :]]
        for k in range(1, A_r.shape[-3]):
            products.append(products[-1] @ A_r[..., k, :, :])
        product = torch.stack(products, dim=-3)
        unfolded = unfold(
            self.stream.expand_weights(), self.coefficients, self.stream.reduce_weights(self._last).double()
        )
        return {
            "C_0": unfolded.C_0.sum(dim=(0, 1)),
            "C": unfolded.C.sum(dim=(0, 1)),
            "product": product.sum(dim=(0, 1)),
            "composite_gains": torch.stack(gains(product)).sum(dim=(1, 2)),
            "sublayer_gains": torch.stack(gains(A_r)).sum(dim=(1, 2)),
            "reads": shares(A_m).sum(dim=(0, 1)),
            "writes": shares(B).sum(dim=(0, 1)),
            "ranks": torch.stack(self.ranks, dim=-1).sum(dim=(0, 1)),
        }

    def samples(self) -> dict[str, Tensor]:
        """Rows, (tokens, …), by the name in `Survey`."""
        B, A_m, A_r = self._stacked()
        kept = {"B": B, "A_m": A_m, "A_r": A_r}
        for name in ("sublayer_similarity", "block_similarity"):
            pairs = getattr(self, name)
            kept[name] = torch.stack(pairs, dim=-1) if pairs else B.new_zeros(*B.shape[:2], 0)
        return {name: rows.flatten(0, 1) for name, rows in kept.items()}

    def _stacked(self) -> tuple[Tensor, Tensor, Tensor]:
        """B and A_m, (1, seq, L, n), and A_r, (1, seq, L, n, n), with 0 for streams that are not there; of a mode that
        reads each channel by itself, A_m is the mean over channels.
        """
        n = max(max(c.A_r.shape[-2:]) for c in self.coefficients)
        reads = [c.A_m.mean(dim=-1) if reads_channels(c.A_m) else c.A_m for c in self.coefficients]
        B = [pad(c.B, (0, n - c.B.shape[-1])) for c in self.coefficients]
        A_m = [pad(weights, (0, n - weights.shape[-1])) for weights in reads]
        A_r = [pad(c.A_r, (0, n - c.A_r.shape[-1], 0, n - c.A_r.shape[-2])) for c in self.coefficients]
        return torch.stack(B, dim=-2), torch.stack(A_m, dim=-2), torch.stack(A_r, dim=-3)
