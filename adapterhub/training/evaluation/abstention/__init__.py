"""When a task does not answer: how sure its answers are, and the confidence that is chosen."""
