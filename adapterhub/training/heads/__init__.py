"""Features -> many heads fitted together -> the selected one."""
