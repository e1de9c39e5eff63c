"""How long to wait before the next try, so that many who failed together do not come back together.

Knows no clock and nothing of what is tried.
"""

import random

CEILING_DOUBLINGS = 30  # of a base in seconds: beyond any cap, and still no huge number


class Backoff:
    """The waits between tries that fail one after another; `reset` once one succeeds."""

    def __init__(self, *, base: float, cap: float) -> None:
        self._base = base
        self._cap = cap
        self._tries = 0

    def next(self) -> float:
        """Seconds to wait after one more failure."""
        self._tries += 1
        return full_jitter(self._tries, base=self._base, cap=self._cap)

    def reset(self) -> None:
        """It worked: the next failure is the first again."""
        self._tries = 0


def full_jitter(tries: int, *, base: float, cap: float) -> float:
    """Seconds to wait after the n-th failure in a row: uniform in 0 .. min(cap, base * 2^(n - 1)).

    Source: aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter ("full jitter").
    """
    return spread(0, min(cap, base * 2.0 ** min(tries - 1, CEILING_DOUBLINGS)))


def spread(low: float, high: float) -> float:
    """Uniform in between: what starts at the same moment does not go on at the same moment."""
    return random.uniform(low, high)  # noqa: S311 (spreads load, guards nothing)
