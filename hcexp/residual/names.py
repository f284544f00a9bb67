"""Other names that the literature has for the modes, for whoever types one of them."""

ALSO_CALLED = {
    "ptb": "parallel",
    "parallel_transformer_block": "parallel",
    "hyper_connections": "dhc",
    "hc": "dhc",
    "plain": "pre_norm",
}
