"""Files and tables -> rows with targets, split, with their labels."""
