"""The log of attempts: one row for each claim that has ended, however it did, and what its owner sees."""

from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.fix_postgres import Database
from tests.sql.acting import Connection, acting, ask, sign_up, some_model

pytestmark = pytest.mark.sql

# What a worker writes, reduced to what the log is made of.
CLAIM: LiteralString = """
    update private.job
       set state = 'running', worker_id = %(worker)s, epoch = epoch + 1, claimed_at = clock_timestamp(),
           started_at = coalesce(started_at, clock_timestamp()), error_code = null, error_message = null
     where request_id = %(request)s"""
AGAIN: LiteralString = "update private.job set state = 'ready', worker_id = null"
OVER: LiteralString = "update private.job set worker_id = null, finished_at = now(), state = "
WHERE: LiteralString = " where request_id = %s"
FAULT: LiteralString = ", error_code = 'model_failed', error_message = 'It broke.'"
LOST: LiteralString = ", error_code = 'worker_lost', error_message = 'It died.'"
FINISH: LiteralString = f"{OVER} 'done' {WHERE}"
FAIL: LiteralString = f"{OVER} 'failed' {FAULT} {WHERE}"
RELEASE: LiteralString = AGAIN + WHERE
CANCEL: LiteralString = "select public.cancel(%s)"

WAYS_OUT: dict[str, tuple[LiteralString, str, str | None]] = {
    "finish": (FINISH, "done", None),
    "fail": (FAIL, "failed", "model_failed"),
    "back off": (AGAIN + FAULT + WHERE, "retried", "model_failed"),
    "release": (RELEASE, "released", None),
    "rescue": (AGAIN + LOST + WHERE, "rescued", "worker_lost"),
    "the last rescue": (f"{OVER} 'failed' {LOST} {WHERE}", "failed", "worker_lost"),
}


def new_worker(database: Database) -> int:
    with database.connect("listener") as connection:
        row = connection.execute(
            "insert into private.worker (name, version, lease_until) values ('secret-host:7', '1', now())"
            " returning id"
        ).fetchone()
    assert row is not None
    return int(str(row[0]))


def claim(worker: Connection, request: UUID, worker_id: int = 1) -> None:
    worker.execute(CLAIM, {"request": request, "worker": worker_id})


def attempts(person: Connection, request: UUID) -> list[tuple[object, ...]]:
    return person.execute(
        "select n, outcome, error_code from public.attempts where request_id = %s order by n", [request]
    ).fetchall()


@pytest.mark.parametrize("way", WAYS_OUT)
def test_each_way_out_of_running_is_logged_once(way: str, common: Database) -> None:
    statement, outcome, code = WAYS_OUT[way]
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        assert attempts(person, request) == []
        worker.execute(statement, [request])
        assert attempts(person, request) == [(1, outcome, code)]


def test_who_cancels_a_running_request_ends_an_attempt_and_who_cancels_a_queued_one_does_not(
    common: Database,
) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        queued, running = ask(person), ask(person)
        claim(worker, running)
        for request in (queued, running):
            person.execute(CANCEL, [request])
        assert attempts(person, queued) == []
        assert attempts(person, running) == [(1, "cancelled", None)]


def test_a_history_of_attempts_is_read_in_order_with_its_times(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        for way in ("rescue", "release", "back off", "finish"):
            claim(worker, request)
            worker.execute(WAYS_OUT[way][0], [request])
        assert [row[1] for row in attempts(person, request)] == ["rescued", "released", "retried", "done"]
        in_order = person.execute("""
            select bool_and(started_at <= ended_at and ended_at <= following) from (
              select a.*, lead(started_at, 1, 'infinity') over (order by n) as following
                from public.attempts a where request_id = %s) a""", [request])  # fmt: skip
        assert in_order.fetchall() == [(True,)]


def test_attempts_after_a_persons_retry_stand_behind_those_before(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        worker.execute(FAIL, [request])
        person.execute("select public.retry(%s)", [request])
        started = worker.execute(f"select started_at from private.job {WHERE}", [request])
        assert started.fetchall() == [(None,)]
        claim(worker, request)
        worker.execute(FINISH, [request])
        assert attempts(person, request) == [(1, "failed", "model_failed"), (2, "done", None)]


def test_an_attempt_is_not_over_while_its_request_waits_for_its_chunks(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        worker.execute(f"update private.job set state = 'waiting', worker_id = null {WHERE}", [request])
        assert attempts(person, request) == []


def test_one_claim_cannot_end_twice(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        worker.execute(RELEASE, [request])
        worker.execute(f"update private.job set state = 'running', worker_id = 1 {WHERE}", [request])
        with pytest.raises(psycopg.errors.UniqueViolation, match="attempt_pkey"):
            worker.execute(FINISH, [request])
        assert attempts(person, request) == [(1, "released", None)]


def test_ended_attempts_go_with_their_request(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, common.connect("listener") as worker:
        request, other = ask(person), ask(person)
        for each in (request, other):
            claim(worker, each)
            worker.execute(RELEASE, [each])
        claim(worker, request)
        person.execute("delete from public.requests where id = %s", [request])
    with common.connect() as connection:
        left = connection.execute("select request_id from private.attempt where owner = %s", [owner])
        assert left.fetchall() == [(other,)]


def test_the_log_names_the_worker_and_its_owner_does_not_see_it(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request, mine = ask(person), new_worker(common)
        claim(worker, request, mine)
        worker.execute(FAIL, [request])
        shown = person.execute("select * from public.attempts where request_id = %s", [request])
        assert {column.name for column in shown.description or ()} == {
            "request_id", "n", "started_at", "ended_at", "outcome", "error_code", "error_message",
        }  # fmt: skip
        assert "secret-host" not in str(shown.fetchall())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            person.execute("select worker from private.attempt")
        with common.connect() as operator:
            logged = operator.execute(f"select worker, worker_id from private.attempt {WHERE}", [request])
            assert logged.fetchall() == [("secret-host:7", mine)]


def test_attempts_are_ones_own_and_read_only(common: Database) -> None:
    some_model(common)
    with (
        acting(common, sign_up(common)) as person,
        acting(common, sign_up(common)) as other,
        common.connect("listener") as worker,
    ):
        request = ask(person)
        claim(worker, request)
        worker.execute(RELEASE, [request])
        assert other.execute("select from public.attempts").fetchall() == []
        for change in ("delete from public.attempts", "update public.attempts set n = 7"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                person.execute(change)
        assert attempts(person, request) == [(1, "released", None)]


def error(person: Connection, request: UUID) -> tuple[object, ...]:
    query = "select state, error_code, error_message from public.requests where id = %s"
    (row,) = person.execute(query, [request]).fetchall()
    return row


def test_an_error_is_shown_once_the_request_has_failed_and_not_before(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        worker.execute(WAYS_OUT["back off"][0], [request])
        assert error(person, request) == ("queued", None, None)
        assert person.execute(
            "update public.requests set title = 'T' where id = %s returning error_code", [request]
        ).fetchall() == [(None,)]
        claim(worker, request)
        worker.execute(FAIL, [request])
        assert error(person, request) == ("failed", "model_failed", "It broke.")
        person.execute("select public.retry(%s)", [request])
        assert error(person, request) == ("queued", None, None)


def test_an_error_that_an_earlier_attempt_left_standing_is_none_of_a_good_one(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        request = ask(person)
        claim(worker, request)
        worker.execute(WAYS_OUT["back off"][0], [request])
        worker.execute(  # as the release before claims
            f"update private.job set state = 'running', worker_id = 1, epoch = epoch + 1 {WHERE}", [request]
        )
        worker.execute(FINISH, [request])
        assert attempts(person, request) == [(1, "retried", "model_failed"), (2, "done", None)]
        assert error(person, request) == ("done", None, None)


def test_the_listener_may_delete_what_has_been_over_for_long_and_its_owner_is_told(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("listener") as worker:
        old, new = ask(person), ask(person)
        for each in (old, new):
            claim(worker, each)
            worker.execute(FINISH, [each])
        worker.execute("delete from private.request where id = %s", [old])
        assert person.execute("select id from public.requests").fetchall() == [(new,)]
        assert attempts(person, old) == []
        assert person.execute("select ref from gate.event where gone").fetchall() == [(old,)]


def test_nobody_else_of_the_services_may_delete_a_request(common: Database) -> None:
    for role in ("listener_events", "authsvc", "authenticator"):
        with common.connect(role) as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
            service.execute("delete from private.request")
