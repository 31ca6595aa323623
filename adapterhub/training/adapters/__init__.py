"""Training of adapters: the frozen trunk runs once, PEFT's layers are trained above it."""
