"""Features -> many heads fitted together -> the one to keep."""
