"""Which parameters decay."""

from torch import nn


def decay_groups(
    model: nn.Module, weight_decay: float, *, decay_embeddings: bool = False, decay_norms: bool = False
) -> list[dict]:
    """Parameter groups for a torch optimizer: those that decay, and those that do not.

    Undecayed are the residual stream's static parts (it names them itself), and, unless asked for, the embedding
    and the norms' weights, as in OLMo (OLMoE decays both). Frozen parameters are in neither group.
    """
    undecayed = {id(p) for p in model.stream.undecayed()}
    for module in model.modules():
        exempt = isinstance(module, nn.Embedding) and not decay_embeddings
        exempt |= isinstance(module, nn.LayerNorm | nn.RMSNorm) and not decay_norms
        if exempt:
            undecayed |= {id(p) for p in module.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) not in undecayed], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) in undecayed], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
