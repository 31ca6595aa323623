"""Rows -> features, encoded once and kept on disk."""
