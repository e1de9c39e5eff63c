"""What the engine counts of itself."""

from prometheus_client import Counter, Histogram

CALLS = Counter("precis_engine_calls_total", "Calls of chat and generate, by how they ended.", ["outcome"])
COMPOSING = Histogram("precis_engine_compose_seconds", "Time to make an answer, without the time to send it.")
