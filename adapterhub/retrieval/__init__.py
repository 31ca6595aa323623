"""Vectors of texts, and the texts whose vectors are nearest to that of a query."""
