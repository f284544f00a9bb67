"""What is measured of a token's streams and coefficients."""

import torch
from torch import Tensor


def gains(A_r: Tensor) -> tuple[Tensor, Tensor]:
    """How much a mixing of streams, or a product of them, of shape (…, n, n), can enlarge what passes: both (…).

    Forward, the largest sum of absolute weights that one stream receives (column of A_r), and backward, that one stream
    gives (row), by which its gradient can grow: the "Amax gain magnitude" of mHC (arXiv 2512.24880), whose matrix is
    the transpose of A_r. The identity, a permutation and any doubly stochastic matrix have 1 and 1.
    """
    size = A_r.abs()
    return size.sum(dim=-2).amax(dim=-1), size.sum(dim=-1).amax(dim=-1)


def shares(weights: Tensor) -> Tensor:
    """The share of each stream in a read or write, (…, n): absolute weights over their sum, 0 where all are 0."""
    size = weights.abs()
    total = size.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, size / total, 0)


def effective_rank(H: Tensor) -> Tensor:
    """Of the streams of a token, (…, n, d): (…), from 1, where all are multiples of one vector, to min(n, d).

    The exponential of the entropy of the singular values, normalised to a sum of 1 (Roy and Vetterli, 2007); 0 where
    all streams are 0. From the eigenvalues of the n × n Gram matrix in float64, which leaves seven exact digits.
    """
    H = H.double()
    squares = torch.linalg.eigvalsh(H @ H.mT).clamp(min=0)
    singular = shares(squares.sqrt())
    entropy = torch.special.entr(singular).sum(dim=-1)
    return torch.where(squares.sum(dim=-1) > 0, entropy.exp(), 0)
