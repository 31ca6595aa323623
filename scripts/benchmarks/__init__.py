"""Benchmarks beside peers; run them with scripts/bench."""
