"""PEFT layers and a head, trained on cached states below them."""
