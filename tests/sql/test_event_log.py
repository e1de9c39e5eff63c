"""The event log: its numbers are in the order of the commits, it says what a client can see and no more, and
only the
watched are rung for."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import LiteralString
from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import acting, ask, listening, put, sign_up, some_model, until_blocked

pytestmark = pytest.mark.sql

Event = tuple[object, ...]

CANCEL = """
    update private.job set state = 'cancelled', finished_at = now() where request_id = %s"""
WATCH = "update private.event_cursor set watched_until = clock_timestamp() + %s::interval where owner = %s"
APPEND: LiteralString = "select private.append_events('request', %s, %s, null, null, false)"


def events(database: Database, owner: UUID) -> list[Event]:
    """(number, request, gone) as the owner's event stream reads them."""
    with acting(database, owner) as connection:
        return connection.execute("select n, ref, gone from gate.event order by n").fetchall()


def watch(database: Database, owner: UUID, until: str) -> None:
    with database.connect("listener_events") as connection:
        connection.execute(WATCH, [until, owner])


CURSOR = "select n, block from private.event_cursor where owner = %s"


def test_the_order_of_numbers_is_the_order_of_commits(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    asked: list[UUID] = []
    with acting(common, owner) as first, acting(common, owner) as second:
        other = threading.Thread(target=lambda: asked.append(ask(second)))
        with first.transaction():
            asked.append(ask(first))
            other.start()
            until_blocked(common, second)
            assert events(common, owner) == []
        other.join()
    assert events(common, owner) == [(1, asked[0], False), (2, asked[1], False)]


def test_a_rollback_leaves_no_gap(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person:
        with person.transaction(force_rollback=True):
            ask(person)
        request = ask(person)
    assert events(common, owner) == [(1, request, False)]


def test_rows_of_one_statement_get_numbers_in_a_row(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person:
        asked = [ask(person) for _ in range(5)]
        person.execute("update public.requests set title = 'all of them'")
        person.execute("delete from public.requests where id = any (%s)", [asked[:2]])
        for _ in range(5):
            ask(person)
    logged = events(common, owner)
    assert [n for n, _, _ in logged] == list(range(1, 18))
    with common.connect() as root:
        assert root.execute(CURSOR, [owner]).fetchall() == [(17, 1)]  # of sixteen numbers each
    assert {ref for _, ref, gone in logged if gone} == set(asked[:2])


def test_a_delete_leaves_a_tombstone(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person:
        request = ask(person)
        person.execute("delete from public.requests")
    assert events(common, owner) == [(1, request, False), (2, request, True)]


@pytest.mark.parametrize(("change", "count"), [
    ("update private.job set state = 'running', worker_id = 1 where request_id = %s", 1),
    ("update private.job set state = 'waiting' where request_id = %s", 1),
    ("update private.job set state = 'done', finished_at = now() where request_id = %s", 1),
    ("update private.job set run_at = now() + interval '1 minute', attempts = 1 where request_id = %s", 1),
    ("update private.request set title = 'new' where id = %s", 1),
    ("update private.job set progress = 0.5, tag = 7, epoch = epoch + 1 where request_id = %s", 0),
    ("update private.job set deadline_at = now() where request_id = %s", 0),
    ("insert into private.job (request_id, owner, model_id, kind)"
     " select request_id, owner, model_id, 'chunk' from private.job where request_id = %s", 0),
])  # fmt: skip
def test_what_a_client_can_see_is_an_event_and_nothing_else(
    change: LiteralString, count: int, common: Database
) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, common.connect() as worker:
        request = ask(person)
        worker.execute(change, [request])
    assert events(common, owner)[1:] == [(2, request, False)][:count]


def test_running_to_waiting_is_no_event_because_both_are_shown_as_running(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person:
        request = ask(person)
    put(common, request, "running")
    put(common, request, "waiting")
    assert len(events(common, owner)) == 2


def test_only_the_watched_are_rung_for(common: Database) -> None:
    some_model(common)
    owner, other = sign_up(common), sign_up(common)
    with acting(common, owner) as person, listening(common, "precis_event") as heard:
        ask(person)
        assert heard() == []
        watch(common, other, "1 minute")
        watch(common, owner, "1 minute")
        ask(person)
        assert heard() == [f"{owner}:2"]
        watch(common, owner, "-1 second")
        ask(person)
        assert heard() == []


def test_a_stream_that_opens_while_a_writer_is_in_flight_is_rung_or_sees_the_event(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, listening(common, "precis_event") as heard:
        opening = threading.Thread(target=watch, args=(common, owner, "1 minute"))
        with person.transaction():
            request = ask(person)
            opening.start()
        opening.join()  # it waits for the writer: its backlog holds what that writer wrote
        assert events(common, owner) == [(1, request, False)]
        ask(person)
        assert f"{owner}:2" in heard()


def test_versions_that_a_snapshot_keeps_are_not_walked_over(common: Database) -> None:
    """Nothing can remove them meanwhile: what a change reads must not grow with the changes before it."""
    owners = [sign_up(common), sign_up(common)]

    def pages(who: list[UUID]) -> int:
        """Read by one more event of each."""
        (row,) = writer.execute(f"explain (analyze, buffers, format json) {APPEND}", [who, who]).fetchall()
        return int(row[0][0]["Plan"]["Shared Hit Blocks"])

    with common.connect() as dump, common.connect() as writer:
        dump.execute("begin isolation level repeatable read")
        dump.execute("select from private.model")
        writer.cursor().executemany(APPEND, [[owners, owners]] * 40)
        early_of_one, early_of_both = pages(owners[:1]), pages(owners)
        writer.cursor().executemany(APPEND, [[owners, owners]] * 1000)
        assert pages(owners[:1]) <= early_of_one + 8
        assert pages(owners) <= early_of_both + 16


def test_nobody_reads_another_ones_log(common: Database) -> None:
    some_model(common)
    owner, other = sign_up(common), sign_up(common)
    with acting(common, owner) as person:
        ask(person)
    assert events(common, other) == []
    with acting(common, other) as person:
        assert person.execute("select n from gate.event_cursor").fetchall() == [(0,)]


def flip(database: Database, requests: list[UUID]) -> None:
    """Claims and releases all of them, again and again, each time in one statement."""
    with database.connect("listener") as worker:
        for _ in range(60):
            for state, worker_id, claims in (("running", 1, 1), ("ready", None, 0)):
                worker.execute(
                    "update private.job set state = %s, worker_id = %s, epoch = epoch + %s"
                    " where request_id = any (%s)",
                    [state, worker_id, claims, requests]
                )  # fmt: skip


@pytest.mark.parametrize("first", ["the event", "the end"])
def test_an_event_that_meets_the_end_of_its_account_goes_with_it(common: Database, first: str) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person:
        request = ask(person)
    with common.connect() as operator, common.connect("authsvc") as authsvc:
        append = partial(operator.execute, CANCEL, [request])
        end = partial(authsvc.execute, "delete from private.account where id = %s", [owner])
        one, other = (append, end) if first == "the event" else (end, append)
        holding, waiting = (operator, authsvc) if first == "the event" else (authsvc, operator)
        with holding.transaction():
            one()
            second = threading.Thread(target=other)
            second.start()
            until_blocked(common, waiting)
        second.join()
        left = operator.execute("select from private.event where owner = %s", [owner]).fetchall()
    assert left == []


def test_statements_over_several_owners_do_not_deadlock(common: Database) -> None:
    some_model(common)
    owners = [sign_up(common) for _ in range(8)]
    there, back = (ask_for_each(common, order) for order in (owners, owners[::-1]))
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(flip, common, there), pool.submit(flip, common, back)]:
            done.result()
    assert {len(events(common, owner)) for owner in owners} == {2 + 2 * 2 * 60}


def ask_for_each(database: Database, owners: list[UUID]) -> list[UUID]:
    requests = []
    for owner in owners:
        with acting(database, owner) as person:
            requests.append(ask(person))
    return requests
