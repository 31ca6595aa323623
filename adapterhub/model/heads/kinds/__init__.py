"""Logits to predictions, one file per kind of task; `table.DECODERS` has them all."""
