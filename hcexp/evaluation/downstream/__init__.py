"""Downstream tasks: questions with answers to choose from, scored by their likelihood."""
