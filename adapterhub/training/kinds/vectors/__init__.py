"""Vectors of texts: what they are fitted by, where they start, and how they are compared."""
