"""Rows of words: dependency trees, and tagged rows with other mentions."""
