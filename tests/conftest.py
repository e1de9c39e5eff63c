"""Wires the themed fixture files; holds none of its own."""

from hypothesis import settings

settings.register_profile("thorough", max_examples=500, stateful_step_count=100, deadline=None)  # minutes

pytest_plugins = [
    "tests.fix_postgres",
    "tests.fix_tokens",
    "tests.fix_events",
    "tests.fix_engine",
    "tests.fix_stack",
    "tests.fix_postgrest",
    "tests.fix_ollama",
    "tests.fix_work",
]
