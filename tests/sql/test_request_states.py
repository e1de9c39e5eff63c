"""What a person may do to a request in each state of its root job, and that two of them at once do no
harm."""

import threading
from datetime import UTC, datetime, timedelta
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.fix_postgres import Database
from tests.sql.acting import (
    Connection,
    acting,
    ask,
    listening,
    put,
    refused,
    sign_up,
    some_model,
    state_of,
    until_blocked,
)

pytestmark = pytest.mark.sql

SHOWN = {
    "ready": "queued", "running": "running", "waiting": "running",
    "done": "done", "failed": "failed", "cancelled": "cancelled",
}  # fmt: skip
STATES = list(SHOWN)


def shown(person: Connection, request: UUID) -> object:
    row = person.execute("select state from public.requests where id = %s", [request]).fetchone()
    return row and row[0]


@pytest.mark.parametrize("state", STATES)
def test_the_state_that_a_client_sees(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, state)
        assert shown(person, request) == SHOWN[state]


@pytest.mark.parametrize("state", ["ready", "running", "waiting", "cancelled"])
def test_cancel_ends_what_has_not_ended_and_is_no_error_twice(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_control") as heard:
        request = ask(person)
        put(common, request, state)
        row = person.execute("select state from public.cancel(%s)", [request]).fetchone()
        assert row == ("cancelled",)
        assert heard() == ([str(request)] if state == "running" else [])


@pytest.mark.parametrize("state", ["done", "failed"])
def test_cancel_refuses_what_has_ended(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, state)
        with refused("already_finished"):
            person.execute("select public.cancel(%s)", [request])
    assert state_of(common, request) == state


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_retry_queues_what_went_wrong_and_forgets_how(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, state)
        person.execute("select public.retry(%s)", [request])
        rows = person.execute(
            "select state, error_code, progress, finished_at from public.requests"
        ).fetchall()
    assert rows == [("queued", None, 0, None)]


@pytest.mark.parametrize("state", ["ready", "running", "waiting", "done"])
def test_retry_refuses_what_did_not_go_wrong(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, state)
        with refused("not_failed"):
            person.execute("select public.retry(%s)", [request])
    assert state_of(common, request) == state


@pytest.mark.parametrize("state", STATES)
def test_delete_forgets_in_every_state(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_control") as heard:
        request = ask(person)
        put(common, request, state)
        person.execute("delete from public.requests where id = %s", [request])
        assert heard() == ([str(request)] if state == "running" else [])
    assert state_of(common, request) is None


@pytest.mark.parametrize("state", STATES)
def test_a_title_changes_in_every_state_and_priority_only_while_queued(state: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person:
        request = ask(person)
        put(common, request, state)
        person.execute("update public.requests set title = 'Mine' where id = %s", [request])
        if state == "ready":
            person.execute("update public.requests set priority = 1 where id = %s", [request])
        else:
            with refused("not_queued"):
                person.execute("update public.requests set priority = 1 where id = %s", [request])
        row = person.execute(
            "select title, priority from public.requests where id = %s", [request]
        ).fetchone()
    assert row == ("Mine", 1 if state == "ready" else 0)
    assert state_of(common, request) == state


@pytest.mark.parametrize("way", ["cancel", "delete"])
def test_the_jobs_of_chunks_go_with_their_request(way: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, listening(common, "precis_control") as heard:
        request = ask(person)
        put(common, request, "waiting")
        with common.connect() as worker:
            worker.execute("""
                insert into private.job (request_id, owner, model_id, kind, state, worker_id, finished_at)
                select request_id, owner, model_id, 'chunk', c.state, c.worker, case when c.state = 'done'
                  then now() end
                  from private.job, (values ('running', 1), ('ready', null), ('done', null)) c(state, worker)
                 where request_id = %s and kind = 'root'""", [request])  # fmt: skip
            if way == "cancel":
                person.execute("select public.cancel(%s)", [request])
            else:
                person.execute("delete from public.requests where id = %s", [request])
            left = worker.execute(
                "select state from private.job where request_id = %s order by id", [request]
            ).fetchall()
        assert left == (
            [("cancelled",), ("cancelled",), ("cancelled",), ("done",)] if way == "cancel" else []
        )
        assert heard() == [str(request)]


def write_partial(worker: Connection, request: UUID, *, epoch: int, n: int, text: str) -> None:
    worker.execute(
        "insert into private.partial (request_id, epoch, n, owner, text)"
        " select request_id, %s, %s, owner, %s from private.job where request_id = %s",
        [epoch, n, text, request],
    )


@pytest.mark.parametrize("way", ["cancel", "delete"])
def test_partial_text_goes_when_a_request_is_ended(way: str, common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        put(common, request, "running")
        write_partial(worker, request, epoch=0, n=1, text="So far")
        assert person.execute("select request_id, text from public.partials").fetchall() == [
            (request, "So far")
        ]
        if way == "cancel":
            person.execute("select public.cancel(%s)", [request])
        else:
            person.execute("delete from public.requests")
        assert worker.execute("select from private.partial where request_id = %s", [request]).fetchall() == []


def test_text_of_an_earlier_attempt_is_not_shown(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect() as worker:
        request = ask(person)
        for epoch, n, text in ((1, 1, "old"), (2, 1, "ne"), (2, 2, "w")):
            write_partial(worker, request, epoch=epoch, n=n, text=text)
        put(common, request, "running")
        worker.execute("update private.job set epoch = 2 where request_id = %s", [request])
        assert person.execute("select epoch, text from public.partials").fetchall() == [(2, "new")]


def test_nobody_touches_another_ones_request(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, acting(common, sign_up(common)) as other:
        request = ask(person)
        for function in ("cancel", "retry"):
            with refused("request_not_found"):
                other.execute(f"select public.{function}(%s)", [request])
        assert (
            other.execute("update public.requests set title = 'Yours' where id = %s", [request]).rowcount == 0
        )
        assert other.execute("delete from public.requests where id = %s", [request]).rowcount == 0
        assert person.execute("select title, state from public.requests").fetchall() == [(None, "queued")]


# What a worker writes while a person's change waits for the row; then title, priority, run_at and state.
BACK_OFF = "update private.job set run_at = now() + interval '1 minute' where request_id = %s"
TAKE = "update private.job set state = 'running', worker_id = 1, run_at = null where request_id = %s"
RENAME = "update public.requests set title = 'Mine' where id = %s"
RAISE = "update public.requests set priority = 1 where id = %s"


@pytest.mark.parametrize(
    ("written", "change", "expected"),
    [
        (BACK_OFF, RENAME, ("Mine", 0, True, "queued")),
        (BACK_OFF, RAISE, (None, 1, True, "queued")),
        (TAKE, RENAME, ("Mine", 0, None, "running")),
    ],
)
def test_a_change_does_not_undo_what_a_worker_has_just_written(
    written: LiteralString, change: LiteralString, expected: tuple[object, ...], common: Database
) -> None:
    some_model(common)
    later = datetime.now(UTC) + timedelta(hours=1)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person, run_at=later)
        patch = threading.Thread(target=person.execute, args=(change, [request]))
        with worker.transaction():
            worker.execute(written, [request])
            patch.start()
            until_blocked(common, person)
        patch.join()
        query = "select title, priority, run_at < %s, state from public.requests"
        assert person.execute(query, [later]).fetchall() == [expected]


@pytest.mark.parametrize("second", [
    "update public.requests set title = 'two' where id = %s", "delete from public.requests where id = %s",
    "select public.cancel(%s)", "update public.requests set priority = 1 where id = %s",
])  # fmt: skip
def test_two_changes_of_one_persons_rows_do_not_deadlock(second: str, common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    errors: list[psycopg.Error] = []

    def change(connection: Connection, statement: str, request: UUID) -> None:
        try:
            connection.execute(statement, [request])
        except psycopg.Error as error:
            errors.append(error)

    with acting(common, owner) as bulk, acting(common, owner) as single:
        first, last = ask(bulk), ask(bulk)
        other = threading.Thread(target=change, args=(single, second, last))
        with bulk.transaction():
            change(bulk, "update public.requests set title = 'one' where id = %s", first)
            other.start()
            until_blocked(common, single)
            change(bulk, "update public.requests set title = 'one' where id = %s", last)
        other.join()
    assert errors == []
