"""Faults made on purpose, and the figures that must hold while they happen.

A scenario is a function of a folder and an effort that returns figures. The suite runs all of them
briefly (`test_scenarios.py`), `scripts/soak` at full length; docs/reliability.md lists the figures.
"""
