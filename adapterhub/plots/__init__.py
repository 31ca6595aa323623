"""Plots of what was measured: over depths, confusion, reliability, labels, values; to files."""
