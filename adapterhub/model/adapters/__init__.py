"""Adapters as they are scored: per-depth changes of the block."""
