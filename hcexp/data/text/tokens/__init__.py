"""Documents to tokens, and tokens to shards that are made once and can be made on from any interruption."""
