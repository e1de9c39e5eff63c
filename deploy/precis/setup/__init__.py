"""Fills and reads config.toml, and writes the files derived from it. Starts nothing."""
