"""The residual modes, transcribed from their papers line by line: hyper-connections, then the others.

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


def as_written(norm):
    """LayerNorm or RMSNorm by its definition, with the weights and the ε of `norm`."""
    weight = 1.0 if norm.weight is None else norm.weight

    def normed(x):
        if isinstance(norm, torch.nn.LayerNorm):
            x = x - x.mean(-1, keepdim=True)
        return weight * x / ((x * x).mean(-1, keepdim=True) + norm.eps).sqrt()

    return normed


def pre_norm(h, layers):
    """The hidden vector h (batch, seq, d) before the final norm; `layers` pairs each sublayer with its norm."""
    for T, norm in layers:
        h = h + T(norm(h))
    return h


def post_norm(h, layers):
    for T, norm in layers:
        h = norm(h + T(h))
    return h


def parallel(x, layers):
    for (attention, before_attention), (feed_forward, before_feed_forward) in pairs(layers):
        x = x + attention(before_attention(x)) + feed_forward(before_feed_forward(x))
    return x


def two_hop(X, layers):
    """Ma et al., 2024: `Y' = Attn(norm X) + X` and `Y = FFN(norm Y') + X`."""
    for (attention, before_attention), (feed_forward, before_feed_forward) in pairs(layers):
        Y_ = attention(before_attention(X)) + X
        X = feed_forward(before_feed_forward(Y_)) + X
    return X


def resi_dual(x, layers, last_norm):
    """Xie et al., 2023, to the output `x + norm(r)`."""
    r = x
    for T, norm in layers:
        f = T(x)
        r = r + f
        x = norm(x + f)
    return x + last_norm(r)


def altup(streams, layers, active, P, g):
    """Baykal et al., 2023: predict, compute, correct, for a list of streams (batch, seq, d).

    A layer is a list of sublayers with their norms; `active`, `P` and `g` have an entry a layer.
    """
    K = len(streams)
    for layer, star, p, gain in zip(layers, active, P, g, strict=True):
        predicted = [sum(p[i, j] * streams[j] for j in range(K)) for i in range(K)]
        computed = pre_norm(streams[star], layer)
        streams = [predicted[i] + gain[i] * (computed - predicted[star]) for i in range(K)]
    return streams


def pairs(layers):
    return zip(layers[::2], layers[1::2], strict=True)
