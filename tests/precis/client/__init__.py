"""The room `client` of the `precis` command, module by module."""
