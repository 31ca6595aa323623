"""Files and streams to rows: which format a file has, and one row after the other."""
