"""What one person does to another: how long B's rows wait while A does something, on the real stack."""
