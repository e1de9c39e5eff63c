"""The room `queue` of the `precis` command, module by module."""
