"""From which tag on a claim looks."""

from listener.queue.jobs import FLOOR_MARGIN, LOWEST_TAG
from listener.work.claim_floor import ClaimFloors

MODEL = 7


def floor(floors: ClaimFloors, at: float) -> int:
    return floors.floors([MODEL], at=at)[MODEL]


def test_the_first_claim_looks_at_everything_and_the_next_ones_within_a_second_do_not() -> None:
    floors = ClaimFloors()
    floors.see(MODEL, 100_000, at=0.0)
    assert floor(floors, 1.0) == LOWEST_TAG
    assert floor(floors, 1.9) == 100_000 - FLOOR_MARGIN
    assert floor(floors, 2.0) == LOWEST_TAG


def test_who_found_all_that_was_asked_for_does_not_look_further_down() -> None:
    floors = ClaimFloors()
    floors.see(MODEL, 100_000, at=0.0)
    floors.answered(in_full=True)
    assert floor(floors, 10.0) == 100_000 - FLOOR_MARGIN
    floors.answered(in_full=False)
    assert floor(floors, 10.1) == LOWEST_TAG
    assert floor(floors, 10.2) == 100_000 - FLOOR_MARGIN


def test_the_floor_follows_where_the_clock_stood_half_a_second_ago() -> None:
    floors = ClaimFloors()
    floor(floors, 10.0)
    for at, clock in ((10.0, 100_000), (10.2, 200_000), (10.4, 300_000)):
        floors.see(MODEL, clock, at=at)
    assert floor(floors, 10.6) == 100_000 - FLOOR_MARGIN
    assert floor(floors, 10.8) == 200_000 - FLOOR_MARGIN
    assert floor(floors, 10.95) == 300_000 - FLOOR_MARGIN


def test_a_clock_that_is_new_or_was_not_seen_for_half_a_second_gives_no_floor() -> None:
    floors = ClaimFloors()
    floor(floors, 10.0)
    assert floor(floors, 10.1) == LOWEST_TAG
    floors.see(MODEL, 500_000, at=10.1)
    assert floor(floors, 10.2) == LOWEST_TAG


def test_a_clock_that_was_set_back_does_not_lift_the_floor() -> None:
    floors = ClaimFloors()
    floor(floors, 10.0)
    floors.see(MODEL, 100_000, at=10.0)
    floors.see(MODEL, 90_000, at=10.1)
    assert floor(floors, 10.9) == 100_000 - FLOOR_MARGIN


def test_old_positions_are_forgotten() -> None:
    floors = ClaimFloors()
    for second in range(1000):
        floors.see(MODEL, second * 1000, at=float(second))
    assert sum(map(len, floors._seen.values())) <= 2
