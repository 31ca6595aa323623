"""PEFT's format: read, checked and written."""
