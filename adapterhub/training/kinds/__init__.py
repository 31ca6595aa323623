"""What training computes for each kind of task, one file per kind; `table.TRAINED` has them all."""
