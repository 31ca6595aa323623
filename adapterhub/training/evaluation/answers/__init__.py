"""Extracted answers compared with true ones."""
