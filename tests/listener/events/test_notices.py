"""What a notice says: owners. Anybody in the database may send one."""

from uuid import UUID

import pytest

from listener.events.notices import parse_owners

ANN, BOB = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(("payload", "owners"), [
    (f"{ANN}:7", {ANN}), (f"{ANN}:{BOB}:1:1", {ANN}), (f"{ANN}:1,{BOB}:2,{ANN}:3", {ANN, BOB}),
    ("", set()), (",,:,", set()), ("nonsense", set()), (f"x{ANN}:1,{BOB}:1", {BOB}), ("x" * 7_999, set()),
])  # fmt: skip
def test_the_owners_of_a_notice_are_read_and_the_rest_is_passed_over(payload: str, owners: set[UUID]) -> None:
    assert parse_owners(payload) == owners
