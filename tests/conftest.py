"""Wires the themed fixture files; holds none of its own."""

from hypothesis import HealthCheck, settings

# Nothing is judged by the clock: the first draw of a fresh checkout alone builds tables for a second or two.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("usual", UNTIMED)
settings.register_profile("thorough", UNTIMED, max_examples=500, stateful_step_count=100)  # minutes
settings.load_profile("usual")

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
