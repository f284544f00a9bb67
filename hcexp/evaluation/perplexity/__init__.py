"""The loss of a language model on named validation sets."""
