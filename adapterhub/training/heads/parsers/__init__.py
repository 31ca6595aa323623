"""Biaffine parsers on cached features of words: sentences, differentiable layers, search."""
