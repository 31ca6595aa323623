"""Tasks measured on labelled rows: what is read, what is measured, and the result."""
