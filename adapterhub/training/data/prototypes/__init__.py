"""Few examples of each label: descriptions among them, and which of them can be left out."""
