"""What a model is trained for: one LightningModule an objective."""

from hcexp.objective.next_token import NextToken

__all__ = ["NextToken"]
