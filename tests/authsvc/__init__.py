"""authsvc, module by module, on a real database where there is one in the module."""
