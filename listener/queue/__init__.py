"""The queue in Postgres: every statement of a worker, one module for each noun."""
