"""The built-in extractive engine behind Ollama's HTTP interface, for where there is no model. Knows no
database."""
