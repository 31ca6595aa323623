"""Rows of multiple choice: a prompt with two or more choices, in the columns of many data sets."""
