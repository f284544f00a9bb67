"""hcexp: the bench on which residual connections are compared.

One backbone, one recipe, every residual mode a knob, every comparison with its cost and its seed noise.
"""

__version__ = "0.1.0"
