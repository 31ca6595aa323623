"""Scoring files: memory, rows per second, and what the time goes to besides the encoder."""
