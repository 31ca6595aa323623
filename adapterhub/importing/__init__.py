"""Imports adapters of PEFT and classifiers of transformers as tasks."""
