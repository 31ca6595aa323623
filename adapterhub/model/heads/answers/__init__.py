"""Logits of the tokens of a context -> answers, which are spans of it."""
