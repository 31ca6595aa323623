"""The Hugging Face Hub: bounded calls, checked files, one commit; finding a task by its name."""
