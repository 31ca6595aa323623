"""Features -> logits -> predictions."""
