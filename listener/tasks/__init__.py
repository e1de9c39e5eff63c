"""What can be asked for. A task takes a request, a model and `emit`, and returns a result; it knows no
database and no socket."""
