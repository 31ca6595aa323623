"""Labels of prototype tasks, added, renamed and dropped without training."""
