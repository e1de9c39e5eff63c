"""The doorbell: whatever makes a job ready rings if, and only if, a worker holds or waits for the SHARE
lock."""

import contextlib
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import Database
from tests.sql.acting import acting, ask, listening, put, sign_up, some_model, until

pytestmark = pytest.mark.sql


@contextlib.contextmanager
def hungry_worker(common: Database) -> Iterator[None]:
    with common.connect("listener") as connection, connection.transaction():
        connection.execute("lock table private.bell in share mode")
        yield


def test_nobody_is_rung_when_nobody_is_hungry(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_bell") as heard:
        ask(person)
        assert heard() == []


def test_a_hungry_worker_is_rung_with_an_empty_payload(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_bell") as heard:
        with hungry_worker(common):
            ask(person)
            assert heard() == [""]
        ask(person)
        assert heard() == []


def test_two_sleepers_share_the_bell(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_bell") as heard:
        with hungry_worker(common):
            with hungry_worker(common):
                pass
            ask(person)
        assert heard() == [""]


def test_a_worker_that_still_waits_for_an_open_insert_is_rung_by_the_next_and_then_sees_the_first(
    common: Database,
) -> None:
    model = some_model(common)
    seen: list[object] = []

    def grow_hungry() -> None:
        with hungry_worker(common), common.connect("listener") as claimer:
            seen.extend(
                claimer.execute("select request_id from private.job where model_id = %s", [model]).fetchall()
            )

    account = sign_up(common)
    worker = threading.Thread(target=grow_hungry)
    with acting(common, account) as slow, acting(common, sign_up(common)) as quick:
        with listening(common, "precis_bell") as heard, slow.transaction():
            first = ask(slow)
            worker.start()
            until(common, "select 1 from pg_locks where relation = 'private.bell'::regclass and not granted")
            second = ask(quick)
            assert heard() == [""]
            assert seen == []
        worker.join()
    assert set(seen) == {(first,), (second,)}


@pytest.mark.parametrize(("change", "rings"), [
    ("update public.requests set run_at = null where id = %s", True),
    ("update public.requests set priority = 1, run_at = null where id = %s", True),
    ("update public.requests set run_at = now() + interval '2 hours' where id = %s", False),
    ("update public.requests set title = 'new' where id = %s", False),
    ("select public.cancel(%s)", False),
    ("delete from public.requests where id = %s", False),
])  # fmt: skip
def test_a_scheduled_request_rings_when_it_becomes_due_now(
    change: LiteralString, rings: bool, common: Database
) -> None:
    some_model(common)
    with (
        acting(common, sign_up(common)) as person,
        hungry_worker(common),
        listening(common, "precis_bell") as heard,
    ):
        request = ask(person, run_at=datetime.now(UTC) + timedelta(hours=1))
        assert heard() == []
        person.execute(change, [request])
        assert heard() == ([""] if rings else [])


def test_a_retry_rings(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, "failed")
        with hungry_worker(common), listening(common, "precis_bell") as heard:
            person.execute("select public.retry(%s)", [request])
            assert heard() == [""]


def test_a_hundred_rows_of_one_statement_ring_once(common: Database) -> None:
    some_model(common)
    with (
        acting(common, sign_up(common)) as person,
        hungry_worker(common),
        listening(common, "precis_bell") as heard,
    ):
        person.execute("insert into public.requests (task, text)"
                       " select 'summarize', 'Text.' from generate_series(1, 100)")  # fmt: skip
        assert heard() == [""]


def test_an_insert_that_found_the_bell_taken_can_still_be_rolled_back(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_bell") as heard:
        with hungry_worker(common), person.transaction(force_rollback=True):
            ask(person)
        assert heard() == []
        assert person.execute("select from public.requests").fetchall() == []


@pytest.mark.parametrize("chore", ["vacuum", "analyze", "vacuum (freeze)"])
def test_no_chore_of_the_database_waits_for_the_hungry(chore: LiteralString, common: Database) -> None:
    """Nor would the one against wraparound, which takes the same lock of each table."""
    with hungry_worker(common), common.connect() as operator:
        operator.execute("set lock_timeout = '2s'")
        operator.execute(chore)


@pytest.mark.parametrize("role", ["listener", "precis_definer"])
def test_the_bell_can_be_locked_and_not_written(role: LiteralString, common: Database) -> None:
    with common.connect() as connection, connection.transaction():
        connection.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
        connection.execute("lock table private.bell in share mode")
        connection.execute("lock table private.bell in row exclusive mode")
        with pytest.raises(psycopg.Error):
            connection.execute("update private.bell set hungry = false")


def test_two_hungry_workers_that_ask_for_it_in_both_orders_do_not_deadlock(common: Database) -> None:
    """A worker that is hungry makes a job ready itself: who rings does not wait."""
    some_model(common)
    with hungry_worker(common), common.connect("listener") as worker, worker.transaction():
        worker.execute("lock table private.bell in share mode")
        worker.execute("select private.ring()")
