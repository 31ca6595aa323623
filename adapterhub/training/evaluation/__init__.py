"""Logits -> calibration and metrics."""
