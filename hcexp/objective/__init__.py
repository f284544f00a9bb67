"""Objectives: a loss of a model and a batch, pure, so that whoever needs a loss calls the same one."""

from hcexp.objective.losses import Losses, Objective
from hcexp.objective.next_token import NextToken

__all__ = ["Losses", "NextToken", "Objective"]
