"""What an account may send in a day and have waiting: what counts, what does not, and that nobody gets by the
last place."""

import contextlib
import threading
from collections.abc import Iterator
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from tests.fix_postgres import Database
from tests.sql.acting import (
    Connection,
    acting,
    allow,
    ask,
    counted,
    put,
    refused,
    sign_up,
    some_model,
    until_blocked,
)

pytestmark = pytest.mark.sql

TEXT = "Some text."
LIMITS = {
    "requests_waiting": (2, "too_many_waiting"),
    "requests_per_day": (2, "daily_requests_used"),
    "bytes_per_day": (2 * len(TEXT), "daily_bytes_used"),
}


def usage(person: Connection, *columns: str) -> tuple[object, ...]:
    query = sql.SQL("select {} from public.usage").format(sql.SQL(", ").join(map(sql.Identifier, columns)))
    (row,) = person.execute(query).fetchall()
    return row


@contextlib.contextmanager
def somebody(database: Database, **limits: object) -> Iterator[tuple[UUID, Connection]]:
    """A new account with an allowance of its own, signed in; there is a model."""
    some_model(database)
    owner = sign_up(database)
    if limits:
        allow(database, owner, **limits)
    with acting(database, owner) as person:
        yield owner, person


@pytest.mark.parametrize("limit", LIMITS)
def test_a_quota_lets_through_as_much_as_it_says_and_refuses_the_next(limit: str, common: Database) -> None:
    most, code = LIMITS[limit]
    with somebody(common, **{limit: most}) as (owner, person):
        ask(person), ask(person)
        with refused(code):
            ask(person)
        assert counted(common, owner) == (2, 2, 2 * len(TEXT))


@pytest.mark.parametrize("limit", LIMITS)
def test_a_quota_of_nothing_refuses_the_first(limit: str, common: Database) -> None:
    with somebody(common, **{limit: 0}) as (_, person), refused(LIMITS[limit][1]):
        ask(person)


def test_a_refusal_says_when_to_come_back(common: Database) -> None:
    with somebody(common, requests_per_day=0) as (_, person), pytest.raises(psycopg.Error) as caught:
        ask(person)
    with common.connect() as connection:
        row = connection.execute(
            "select %s::json ->> 'status', (%s::json #>> '{headers,Retry-After}')::int between 1 and 86400",
            [caught.value.diag.message_detail, caught.value.diag.message_detail],
        ).fetchone()
    assert row == ("429", True)


def test_bytes_are_counted_as_they_are_stored(common: Database) -> None:
    with somebody(common, bytes_per_day=9) as (owner, person):
        ask(person, text="日本語")
        assert counted(common, owner)[2] == 9


def test_who_has_no_allowance_of_their_own_has_the_one_for_everybody(database: Database) -> None:
    allow(database, None, requests_waiting=1)
    with somebody(database) as (_, person), somebody(database, requests_waiting=2) as (_, other):
        ask(person), ask(other), ask(other)
        for each in (person, other):
            with refused("too_many_waiting"):
                ask(each)


def test_without_a_number_there_is_no_limit_and_none_is_shown(database: Database) -> None:
    allow(database, None)
    with somebody(database) as (_, person):
        person.execute(
            "insert into public.requests (task, text) select 'summarize', 'Text.' from generate_series(1, 50)"
        )
        shown = ("requests_waiting_limit", "requests_waiting_left", "requests_left", "bytes_left")
        assert usage(person, "requests_waiting", *shown) == (50, None, None, None, None)


def test_without_any_allowance_there_is_no_limit_and_everybody_weighs_the_same(database: Database) -> None:
    with database.connect() as operator:
        operator.execute("delete from private.allowance")
    with somebody(database) as (owner, person):
        ask(person), ask(person)
        assert counted(database, owner)[0] == 2
        with database.connect() as connection:
            tags = connection.execute("select tag from private.job order by tag").fetchall()
    assert tags == [(512,), (512 + 1024,)]


def test_a_day_ends_at_midnight_utc_and_the_next_begins_with_nothing_used(common: Database) -> None:
    with somebody(common, requests_per_day=1) as (owner, person), common.connect() as clock:
        ask(person)
        assert usage(person, "requests_today", "requests_left") == (1, 0)
        clock.execute("update private.event_cursor set day = day - 1 where owner = %s", [owner])
        assert usage(person, "requests_today", "requests_left", "bytes_today") == (0, 1, 0)
        ask(person)
        assert counted(common, owner) == (2, 1, len(TEXT))
        with refused("daily_requests_used"):
            ask(person)


def test_a_transaction_of_yesterday_that_comes_late_does_not_turn_the_day_back(common: Database) -> None:
    with somebody(common, requests_per_day=5) as (owner, person), common.connect() as clock:
        ask(person)
        clock.execute("update private.event_cursor set day = day + 1 where owner = %s", [owner])
        ask(person)
        day = "select day - (now() at time zone 'UTC')::date from private.event_cursor where owner = %s"
        assert clock.execute(day, [owner]).fetchall() == [(1,)]
        assert counted(common, owner)[1] == 2


@pytest.mark.parametrize("columns", [{"task": "translate"}, {"model": "none:such"}, {"text": "?!"}], ids=str)
def test_what_is_refused_counts_nothing(columns: dict[str, str], common: Database) -> None:
    with somebody(common) as (owner, person):
        with pytest.raises(psycopg.Error):
            ask(person, **columns)
        assert counted(common, owner) == (0, 0, 0)


def test_what_is_rolled_back_counts_nothing(common: Database) -> None:
    with somebody(common, requests_per_day=1) as (owner, person):
        with person.transaction(force_rollback=True):
            ask(person)
        assert counted(common, owner) == (0, 0, 0)
        ask(person)


def test_each_row_of_a_statement_counts_and_one_too_many_means_none(common: Database) -> None:
    rows: LiteralString = (
        "insert into public.requests (task, text) select 'summarize', 'Text.' from generate_series(1, %s)"
    )
    with somebody(common, requests_per_day=3) as (owner, person):
        with refused("daily_requests_used"):
            person.execute(rows, [4])
        assert counted(common, owner) == (0, 0, 0)
        person.execute(rows, [3])
        assert counted(common, owner) == (3, 3, 15)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("rolled_back", [False, True])
def test_two_at_one_moment_do_not_both_get_the_last_place(
    limit: str, rolled_back: bool, common: Database
) -> None:
    most, code = LIMITS[limit]
    answers: list[str] = []

    def second(person: Connection) -> None:
        try:
            answers.append(str(ask(person)))
        except psycopg.Error as error:
            answers.append(str(error))

    with somebody(common, **{limit: most}) as (owner, person), acting(common, owner) as other:
        ask(person)
        asking = threading.Thread(target=second, args=[other])
        with person.transaction(force_rollback=rolled_back):
            ask(person)
            asking.start()
            until_blocked(common, other)
        asking.join()
        assert (code in answers[0]) is not rolled_back
        assert counted(common, owner)[0] == 2


def with_key(person: Connection, key: str) -> UUID:
    """As PostgREST would: one HTTP request that carries the key."""
    with person.transaction():
        person.execute("select set_config('request.headers', %s, true)", [f'{{"idempotency-key": "{key}"}}'])
        return ask(person)


@pytest.mark.parametrize("limit", LIMITS)
def test_a_replay_is_answered_although_the_quota_is_used_up(limit: str, common: Database) -> None:
    most, code = LIMITS[limit]
    most += len("one") * (limit == "bytes_per_day")
    with somebody(common, **{limit: most}) as (owner, person):
        first = with_key(person, "one")
        ask(person)
        with refused(code):
            with_key(person, "two")
        assert with_key(person, "one") == first
        assert counted(common, owner) == (2, 2, 2 * len(TEXT) + len("one"))


def test_the_same_key_twice_at_one_moment_takes_the_last_place_once(common: Database) -> None:
    answers: list[UUID] = []
    with somebody(common, requests_waiting=1) as (owner, person), acting(common, owner) as other:
        second = threading.Thread(target=lambda: answers.append(with_key(other, "one")))
        with person.transaction():
            first = with_key(person, "one")
            second.start()
            until_blocked(common, other)
        second.join()
    assert answers == [first]


CLAIM: LiteralString = (
    "update private.job set state = 'running', worker_id = 1, epoch = epoch + 1 where request_id = %s"
)
MOVES: list[tuple[str, LiteralString, int]] = [
    ("ready", CLAIM, 0),
    ("ready", "select private.cancel(%s)", 0),
    ("ready", "delete from private.request where id = %s", 0),
    ("ready", "delete from private.job where request_id = %s", 0),
    ("ready", "update private.job set run_at = now() + interval '1 h' where request_id = %s", 1),
    ("ready", "update private.job set priority = 1, rank = 2, tag = 7 where request_id = %s", 1),
    ("running", "update private.job set state = 'ready', worker_id = null where request_id = %s", 1),
    ("running", "update private.job set state = 'waiting', worker_id = null where request_id = %s", 0),
    ("waiting", "update private.job set state = 'ready' where request_id = %s", 1),
    ("running", "delete from private.request where id = %s", 0),
    ("failed", "select private.retry(%s)", 1),
    ("cancelled", "select private.retry(%s)", 1),
    ("done", "delete from private.request where id = %s", 0),
]


@pytest.mark.parametrize(("state", "change", "waiting"), MOVES)
def test_what_waits_is_counted_through_every_change(
    state: str, change: LiteralString, waiting: int, common: Database
) -> None:
    with somebody(common) as (owner, person), common.connect() as worker:
        request = ask(person)
        if state != "ready":
            worker.execute(CLAIM, [request])
            put(common, request, state)
        assert counted(common, owner)[0] == (state == "ready")
        worker.execute(change, [request])
        assert counted(common, owner)[0] == waiting


def test_the_jobs_of_chunks_do_not_count(common: Database) -> None:
    with somebody(common) as (owner, person), common.connect() as worker:
        request = ask(person)
        worker.execute(
            "insert into private.job (request_id, owner, model_id, kind) select request_id, owner, model_id,"
            " 'chunk' from private.job where request_id = %s",
            [request],
        )
        assert counted(common, owner) == (1, 1, len(TEXT))
        worker.execute("delete from private.job where request_id = %s and kind = 'chunk'", [request])
        assert counted(common, owner) == (1, 1, len(TEXT))


def test_an_account_goes_with_what_waits_and_its_allowance(common: Database) -> None:
    with somebody(common, requests_waiting=2) as (owner, person):
        ask(person)
    with common.connect("authsvc") as authsvc:
        authsvc.execute("delete from private.account where id = %s", [owner])
    with common.connect() as connection:
        for table in ("job", "event_cursor", "allowance", "event"):
            left = sql.SQL("select from private.{} where owner = %s").format(sql.Identifier(table))
            assert connection.execute(left, [owner]).fetchall() == []


def test_one_statement_over_several_owners_counts_for_each(common: Database) -> None:
    with somebody(common) as (one, first), somebody(common) as (two, second), common.connect() as worker:
        requests = [ask(first), ask(first), ask(second)]
        worker.execute(
            "update private.job set state = 'running', worker_id = 1 where request_id = any (%s)", [requests]
        )
        assert (counted(common, one)[0], counted(common, two)[0]) == (0, 0)


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_retry_waits_as_well_and_is_refused_when_too_many_do(state: str, common: Database) -> None:
    with somebody(common, requests_waiting=1) as (owner, person), common.connect() as worker:
        request = ask(person)
        worker.execute(CLAIM, [request])
        put(common, request, state)
        ask(person)
        with refused("too_many_waiting"):
            person.execute("select public.retry(%s)", [request])
        assert counted(common, owner)[0] == 1
        person.execute("delete from public.requests where state = 'queued'")
        person.execute("select public.retry(%s)", [request])
        assert counted(common, owner)[0] == 1


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_retry_is_a_request_of_today_without_bytes(state: str, common: Database) -> None:
    with somebody(common, requests_per_day=3, bytes_per_day=len(TEXT)) as (owner, person):
        request = ask(person)
        for used in (2, 3):
            put(common, request, state)
            person.execute("select public.retry(%s)", [request])
            assert counted(common, owner) == (1, used, len(TEXT))
        assert usage(person, "requests_today", "requests_left") == (3, 0)
        put(common, request, state)
        with refused("daily_requests_used"):
            person.execute("select public.retry(%s)", [request])
        assert counted(common, owner) == (0, 3, len(TEXT))


def test_what_an_operator_tries_again_counts_nothing(common: Database) -> None:
    with somebody(common, requests_per_day=1) as (owner, person), common.connect() as operator:
        request = ask(person)
        put(common, request, "failed")
        operator.execute("select private.retry(%s)", [request])
        assert counted(common, owner) == (1, 1, len(TEXT))


def test_the_bytes_of_every_column_count(common: Database) -> None:
    columns = {"title": "Ö", "language": "pt-BR", "style": "bullets"}
    with somebody(common) as (owner, person):
        ask(person, **columns)
        with_key(person, "key-9")
        assert counted(common, owner)[2] == 2 * len(TEXT) + 2 + 5 + 7 + 5


def test_usage_shows_what_is_used_and_what_is_left(common: Database) -> None:
    with somebody(common, requests_waiting=5, requests_per_day=7, bytes_per_day=25) as (_, person):
        ask(person), ask(person)
        waiting = ("requests_waiting", "requests_waiting_limit", "requests_waiting_left")
        assert usage(person, *waiting) == (2, 5, 3)
        assert usage(person, "requests_today", "requests_per_day_limit", "requests_left") == (2, 7, 5)
        assert usage(person, "bytes_today", "bytes_per_day_limit", "bytes_left") == (20, 25, 5)
        assert person.execute(
            "select day_ends_at > now(), day_ends_at <= now() + interval '1 day' from public.usage"
        ).fetchall() == [(True, True)]


def test_what_is_left_of_a_quota_that_was_lowered_is_nothing(common: Database) -> None:
    with somebody(common) as (owner, person):
        ask(person), ask(person)
        allow(common, owner, requests_waiting=1, requests_per_day=1, bytes_per_day=1)
        assert usage(person, "requests_waiting_left", "requests_left", "bytes_left") == (0, 0, 0)


def test_usage_is_ones_own_and_read_only(common: Database) -> None:
    with somebody(common) as (_, person), acting(common, sign_up(common)) as other:
        ask(person)
        assert usage(other, "requests_waiting", "requests_today") == (0, 0)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            person.execute("update public.usage set requests_today = 0")
        with common.connect("authenticator") as anonymous:
            anonymous.execute("set role pgrest_anon")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                anonymous.execute("select from public.usage")


@pytest.mark.parametrize("column", ["requests_waiting", "requests_per_day", "bytes_per_day"])
def test_an_allowance_is_no_negative_number(column: str, common: Database) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="allowance_is_not_negative"):
        allow(common, sign_up(common), **{column: -1})


def test_there_is_one_allowance_for_everybody(common: Database) -> None:
    with common.connect() as operator, pytest.raises(psycopg.errors.UniqueViolation):
        operator.execute("insert into private.allowance default values")
