"""What is scored, as rows: files, streams, tables."""
