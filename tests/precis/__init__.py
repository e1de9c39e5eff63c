"""The `precis` command, module by module."""
