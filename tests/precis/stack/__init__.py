"""The room `stack` of the `precis` command, module by module."""
