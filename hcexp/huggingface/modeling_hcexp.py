"""This model, whose code is the Python package hcexp."""

try:
    from hcexp.huggingface import pretrained
except ModuleNotFoundError as error:
    if not (error.name or "").startswith("hcexp"):
        raise
    raise ImportError(
        "this model runs on the Python package hcexp (hcexp_version in config.json): install it from its repository, "
        "with `pip install .` in a checkout, or from a wheel of it"
    ) from None


class HcexpForCausalLM(pretrained.HcexpForCausalLM):
    """A language model with a residual mode of hcexp."""
