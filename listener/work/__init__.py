"""What a worker does: holds its lease, claims jobs, makes an attempt at each, writes what came of it."""
