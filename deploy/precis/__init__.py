"""The `precis` command: the whole service on one machine, and a terminal client for it."""
