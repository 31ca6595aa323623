"""Head files, the registry that lists them, and strict readers of untrusted files."""
