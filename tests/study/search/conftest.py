from tests.callbacks.conftest import fit, memory, regression

__all__ = ["fit", "memory", "regression"]
