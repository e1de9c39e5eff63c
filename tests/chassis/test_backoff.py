"""Waits between tries: they grow, end at a cap, and are spread."""

import pytest

from chassis.backoff import Backoff, full_jitter, spread

DRAWS = 2000


@pytest.mark.parametrize(("tries", "ceiling"), [(1, 0.1), (2, 0.2), (4, 0.8), (5, 1.5), (10_000, 1.5)])
def test_a_wait_is_drawn_from_zero_to_a_ceiling_that_doubles_up_to_the_cap(
    tries: int, ceiling: float
) -> None:
    waits = [full_jitter(tries, base=0.1, cap=1.5) for _ in range(DRAWS)]
    assert 0 <= min(waits) < 0.1 * ceiling
    assert 0.9 * ceiling < max(waits) <= ceiling


def test_each_failure_in_a_row_raises_the_ceiling_and_a_success_lowers_it_again() -> None:
    def waits(count: int) -> list[float]:
        return [delays.next() for _ in range(count)]

    delays = Backoff(base=0.1, cap=60.0)
    assert max(waits(30)) > 1.0
    for _ in range(DRAWS):
        delays.reset()
        first, second = waits(2)
        assert first <= 0.1
        assert second <= 0.2


def test_what_is_spread_lies_in_between_and_reaches_both_ends() -> None:
    drawn = [spread(2.0, 3.0) for _ in range(DRAWS)]
    assert 2.0 <= min(drawn) < 2.1
    assert 2.9 < max(drawn) <= 3.0
