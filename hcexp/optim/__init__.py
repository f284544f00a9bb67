"""How a model is optimised: AdamW over the paper's decay groups, the learning rate's course, and both in shards."""

from hcexp.optim.adamw import AdamW
from hcexp.optim.fully_sharded import FullySharded
from hcexp.optim.groups import decay_groups
from hcexp.optim.schedule import Schedule

__all__ = ["AdamW", "FullySharded", "Schedule", "decay_groups"]
