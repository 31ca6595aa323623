"""Rows to files that are whole or not there."""
