"""Texts or records in, predictions out: read, scored and written in chunks of constant size."""
