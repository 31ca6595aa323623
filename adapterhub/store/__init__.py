"""Where tasks live: head files, the registry that lists them, and the Hugging Face Hub."""
