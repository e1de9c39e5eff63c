"""The room `setup` of the `precis` command, module by module."""
