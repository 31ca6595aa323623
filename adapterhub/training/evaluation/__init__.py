"""Validation logits -> calibration and metrics."""
