"""Hyper-connections, transcribed from the paper line by line, one token and one stream at a time.

Nothing here is shared with the package: loops in place of matrix products, so that an error of axes cannot hide.
"""

import torch


def dynamic_weights(h, norm, p, tanh):
    """Eqs. 10-13 for the streams h (n, d) of one token: beta (n,), alpha (n, n+1)."""
    n = h.shape[0]
    squash = torch.tanh if tanh else (lambda x: x)
    beta, alpha = [], []
    for i in range(n):
        normed = norm(h[i])
        beta.append(p["s_beta"][0] * squash(sum(normed[c] * p["W_beta"][c] for c in range(len(normed)))) + p["B"][i])
        alpha.append(
            torch.stack(
                [p["s_alpha"][0] * squash((normed * p["W_alpha"][:, j]).sum()) + p["A"][i, j] for j in range(n + 1)]
            )
        )
    return torch.stack(beta), torch.stack(alpha)


def hyper_connection(h, sublayer, norm, beta, alpha):
    """Eqs. 2-5 and Algorithm 2 for one token: width connection, sublayer, depth connection."""
    n = h.shape[0]
    x = sum(alpha[i, 0] * h[i] for i in range(n))
    remaining = [sum(alpha[i, 1 + j] * h[i] for i in range(n)) for j in range(n)]
    out = sublayer(norm(x))
    return torch.stack([beta[j] * out + remaining[j] for j in range(n)])


def network(embedding, layers, norm, n, dynamic, tanh=True):
    """The whole stream for embeddings (batch, seq, d); `layers` pairs each sublayer with its parameters."""
    rows = []
    for sequence in embedding:
        for token in sequence:
            h = torch.stack([token] * n)
            for sublayer, p in layers:
                beta, alpha = dynamic_weights(h, norm, p, tanh) if dynamic else (p["B"], p["A"])
                h = hyper_connection(h, sublayer, norm, beta, alpha)
            rows.append(norm(sum(h[i] for i in range(n))))
    return torch.stack(rows).reshape(embedding.shape)
