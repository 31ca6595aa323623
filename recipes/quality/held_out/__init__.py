"""Heads beside baselines on rows that neither chose nor shaped anything, for every data set."""
