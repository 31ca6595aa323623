"""Labelled rows -> a task: encode once, fit all heads together, keep the cheapest good one."""
