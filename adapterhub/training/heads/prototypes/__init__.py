"""Prototypes: the mean of each label's examples at the depth and pooling that tell them apart."""
