"""Labelled rows to targets, one file per kind of task; `table.READERS` has them all."""
