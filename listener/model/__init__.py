"""The model servers: who they are, how they are, one call to one of them."""
