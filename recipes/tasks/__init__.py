"""The shipped tasks: their recipes, their rows, and how they are trained."""
