"""Example texts, and programs that show what tasks are for."""
