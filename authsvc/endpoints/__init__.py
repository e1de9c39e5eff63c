"""The HTTP surface: what is read from a request, who may read an answer, and the handlers."""
