"""Tokenizer files to a checked tokenizer, and its special tokens."""
