"""Runs the whole service on one machine: its parts, their supervisor, and what is told of them."""
