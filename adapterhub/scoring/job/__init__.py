"""What is scored, to where, and what of it is done; all refusals, without torch."""
