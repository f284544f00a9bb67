"""Classification: cross-entropy, and what share is right."""

from torch.nn.functional import cross_entropy

from hcexp.objective import Losses


class Classification:
    """Cross-entropy of a batch (vectors, labels), in nats, and beside it the share of right answers."""

    def __call__(self, model, batch):
        vectors, labels = batch
        logits = model(vectors)
        loss = cross_entropy(logits, labels)
        return Losses(loss, {"loss": loss.detach(), "right": (logits.argmax(-1) == labels).float().mean()})
