"""Heads that compare a text with the mean of the examples of each label."""
