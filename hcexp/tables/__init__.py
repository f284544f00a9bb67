"""A table of text cells, how numbers are written in it, and how a terminal shows it."""
