"""Start and end logits of the tokens of contexts, while heads are fitted."""
