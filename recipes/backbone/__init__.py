"""Text to a backbone: vocabulary, shards, pretraining, multi-task tuning, export."""
