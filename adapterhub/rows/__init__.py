"""Files and streams to rows: formats of files, and readers that yield row by row."""
