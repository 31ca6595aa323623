"""Features -> logits -> answers."""
