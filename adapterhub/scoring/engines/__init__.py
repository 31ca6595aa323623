"""A job run to its end, in this process or in workers of Ray."""
