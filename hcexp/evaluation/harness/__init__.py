"""Tasks of lm-evaluation-harness, run on a network of ours."""
