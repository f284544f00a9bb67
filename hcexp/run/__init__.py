"""A run: one configuration in, one folder out, and that folder read back."""
