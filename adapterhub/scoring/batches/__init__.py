"""Batches of other libraries, and tasks that any process can open."""
