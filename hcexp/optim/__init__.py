"""How a model is optimised: AdamW over the paper's decay groups, and the learning rate's course."""

from hcexp.optim.adamw import AdamW
from hcexp.optim.groups import decay_groups
from hcexp.optim.schedule import Schedule

__all__ = ["AdamW", "Schedule", "decay_groups"]
