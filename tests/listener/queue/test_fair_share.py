"""Whatever one person does with their rows, at most as many of them as there are slots, and one, are begun
before another's new row.

With `--hypothesis-profile thorough` it searches for minutes.
"""

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from listener.queue import rescue
from tests.fix_postgres import Database
from tests.listener.queue.fair_ground import ALL_SLOTS, CHANGES, Neighbours
from tests.listener.queue.queue_ground import Ground

pytestmark = pytest.mark.services

OLD_ENOUGH = "select pg_sleep_until(pg_postmaster_start_time() + interval '15.1 s')"  # to rescue anybody
USUAL = settings(max_examples=40, stateful_step_count=40, derandomize=True)
MANY = 30

some = st.integers(0, 11)
rows = st.sampled_from([1, 1, 2, 10])
priorities = st.integers(-1, 1)
changes = st.sampled_from(sorted(CHANGES))
# How often, and with what.
STEPS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "insert": (4, (rows, priorities, st.sampled_from([False, False, True]))),
    "change": (3, (changes,)),
    "hold": (3, (st.none() | changes, rows)),
    "let_go": (3, ()),
    "others": (3, (rows,)),
    "newcomer": (4, ()),
    "claim": (12, (st.integers(1, ALL_SLOTS), st.booleans())),
    "end": (10, (some, st.sampled_from(["finish", "finish", "finish", "release", "back_off"]))),
    "die": (1, ()),
    "fall_due": (2, ()),
    "lift": (2, ()),
}
NAMES = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]
steps = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), *STEPS[name][1]))


class Street(Neighbours, RuleBasedStateMachine):
    """The promise is asked after each claim."""

    @initialize(backlog=st.sampled_from([0, 3, MANY]))
    def something_to_do(self, backlog: int) -> None:
        self.insert(max(1, backlog), 0, False)

    @rule(step=steps)
    def happens(self, step: tuple[Any, ...]) -> None:
        name, *details = step
        if name == "let_go":
            self.let_go(commit=True)
        else:
            getattr(self, name)(*details)

    def teardown(self) -> None:
        self.close()


@pytest.fixture
def ground(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    monkeypatch.setattr(rescue, "FLOOR_MARGIN", 0)  # so that little is enough to be left behind
    with asyncio.Runner() as runner:
        opened = Ground(database, runner)
        opened.open()
        opened.query(OLD_ENOUGH)
        yield opened
        opened.close()


@pytest.mark.timeout(900)  # a failure is made smaller for up to five minutes
def test_whatever_one_person_does_anothers_new_row_is_begun_in_its_turn(ground: Ground) -> None:
    thorough = settings.get_current_profile_name() == "thorough"
    run_machine(partial(Street, ground), settings=settings() if thorough else USUAL)  # type: ignore[arg-type]


def work(street: Neighbours, claims: int) -> None:
    """Jobs of everybody, one after the other."""
    for _ in range(claims):
        street.claim(1, floored=True)
        street.end(0, "finish")


def until_begun(street: Neighbours) -> None:
    """The newcomer's row. Every claim is judged."""
    street.newcomer()
    for _ in range(MANY + ALL_SLOTS):
        if street.row is not None:
            work(street, 1)
    assert street.row is None


def a_change(how: str) -> Callable[[Neighbours], None]:
    def act(street: Neighbours) -> None:
        street.insert(MANY, 0, later=False)
        work(street, 3)
        street.change(how)

    return act


def an_array_in_flight(street: Neighbours) -> None:
    """While the clock goes on."""
    street.others(MANY)
    street.hold(None, MANY)
    work(street, MANY)
    street.let_go(commit=True)


def an_array_in_flight_and_a_lift(street: Neighbours) -> None:
    an_array_in_flight(street)
    street.lift()


def rows_that_somebody_has_locked(street: Neighbours) -> None:
    """And a claim that goes past them."""
    street.insert(MANY, 0, later=False)
    lock = "select from private.job where id in (select id from private.job order by tag limit %s) for update"
    with street.ground.database.connect() as holder, holder.transaction():
        holder.execute(lock, [MANY - 1])
        work(street, 1)


def a_schedule(street: Neighbours) -> None:
    street.insert(MANY, 0, later=True)
    street.others(5)
    work(street, 3)
    street.fall_due()


def cancelled_and_tried_again(street: Neighbours) -> None:
    a_change("cancel")(street)
    street.change("retry")


def with_priority(street: Neighbours) -> None:
    street.insert(MANY, 1, later=False)


WAYS: dict[str, Callable[[Neighbours], None]] = {
    "priority": with_priority,
    "priority raised": a_change("raise"),
    "run_at in the past": a_change("to the past"),
    "renamed": a_change("rename"),
    "in flight": an_array_in_flight,
    "in flight, lifted": an_array_in_flight_and_a_lift,
    "locked": rows_that_somebody_has_locked,
    "scheduled": a_schedule,
    "tried again": cancelled_and_tried_again,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_backlog_stays_a_chain(way: str, ground: Ground) -> None:
    street = Neighbours(ground)
    WAYS[way](street)
    for _ in range(3):
        until_begun(street)
    street.close()
