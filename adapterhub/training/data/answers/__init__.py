"""Rows of question, context and answers; which tokens an answer has."""
