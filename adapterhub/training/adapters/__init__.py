"""Adapters and a head, trained on cached states of the trunk below."""
