"""The Hugging Face Hub: fetching task heads from it and committing them to it."""
