"""Tokens -> packed batches -> hidden states: the loop over depths."""
