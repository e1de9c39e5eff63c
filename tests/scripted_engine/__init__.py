"""The built-in engine, doing wrong what a test tells it to: over the same wire, in a process of its own."""
