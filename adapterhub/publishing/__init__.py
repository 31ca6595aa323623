"""Publishes tasks to the Hugging Face Hub: heads, registry, card and figures in one commit."""
