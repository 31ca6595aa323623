"""Rows -> features, encoded once and cached on disk."""
