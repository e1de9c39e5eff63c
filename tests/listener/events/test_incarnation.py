"""From which event ids a client can go on."""

import pytest

from listener.events.incarnation import REPLAY_MAX_EVENTS, Head, Loss, Position, loss, parse

HERE = "0123456789ab"


@pytest.mark.parametrize(
    ("position", "reason"),
    [
        (Position(HERE, 20_000), None),
        (Position(HERE, 15_000), None),
        (Position(HERE, 14_999), "too_far_behind"),
        (Position(HERE, 9_999), "too_old"),
        (Position(HERE, 20_001), "ahead"),
        (Position("ba9876543210", 20_000), "foreign"),
        (Position("", 0), "foreign"),
    ],
)
def test_a_client_goes_on_only_where_nothing_is_missing(position: Position, reason: Loss | None) -> None:
    assert REPLAY_MAX_EVENTS == 5_000
    assert loss(position, Head(HERE, n=20_000, min_n=10_000)) == reason


def test_an_event_id_is_read_as_it_was_written() -> None:
    assert parse(str(Position(HERE, 17))) == Position(HERE, 17)


@pytest.mark.parametrize(
    "text", ["", "17", f"{HERE}.", f"{HERE}.-1", f"{HERE}.1\n", f"{HERE}.١", f"{HERE}.{10**19}"]
)
def test_what_we_never_wrote_is_a_position_that_nobody_knows(text: str) -> None:
    assert parse(text) == Position("", 0)
