"""Checks an answer against its source without a model: one file for each check, and the report."""
