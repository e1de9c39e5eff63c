"""What an operator does to the queue: pause, resume, drain, cancel and retry; and the count of the doorbell's
rings."""

import threading
from typing import LiteralString
from uuid import uuid4

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

FUNCTIONS: list[LiteralString] = [
    "private.pause()",
    "private.resume()",
    "private.drain(1)",
    "private.cancel(gen_random_uuid())",
    "private.retry(gen_random_uuid())",
    "private.check_own(gen_random_uuid())",
]


def paused(database: Database) -> tuple[bool, list[object]]:
    """Whether the whole queue is paused, and which models are."""
    with database.connect("listener") as connection:
        (row,) = connection.execute("select paused_at is not null from private.queue").fetchall()
        models = connection.execute("select id from private.model where paused_at is not null order by id")
        return bool(row[0]), [model for (model,) in models.fetchall()]


def name_of(database: Database, model: int) -> object:
    with database.connect() as connection:
        return connection.execute("select name from private.model where id = %s", [model]).fetchall()[0][0]


def test_the_whole_queue_and_each_model_have_a_switch_of_their_own(database: Database) -> None:
    one, two = some_model(database), some_model(database)
    with database.connect("precis_owner") as operator:
        operator.execute("select private.pause(%s)", [name_of(database, one)])
        assert paused(database) == (False, [one])
        operator.execute("select private.pause()")
        operator.execute("select private.pause(%s)", [name_of(database, two)])
        assert paused(database) == (True, [one, two])
        operator.execute("select private.resume()")
        assert paused(database) == (False, [one, two])
        operator.execute("select private.resume(%s)", [name_of(database, one)])
        assert paused(database) == (False, [two])


def test_a_pause_that_is_ordered_twice_began_with_the_first(database: Database) -> None:
    model = name_of(database, some_model(database))
    since = "select q.paused_at, m.paused_at from private.queue q, private.model m"
    with database.connect("precis_owner") as operator:
        for _ in range(2):
            operator.execute("select private.pause(), private.pause(%s)", [model])
        before = operator.execute(since).fetchall()
        operator.execute("select private.pause(), private.pause(%s)", [model])
        assert operator.execute(since).fetchall() == before


@pytest.mark.parametrize(
    "order", ["pause()", "pause(%(model)s)", "resume()", "resume(%(model)s)", "drain(%(worker)s)"]
)
def test_workers_are_told_to_look_again(order: LiteralString, common: Database) -> None:
    model = name_of(common, some_model(common))
    with common.connect() as operator, listening(common, "precis_control") as heard:
        worker = new_worker(operator)
        operator.execute(f"select private.{order}", {"model": model, "worker": worker})
        assert heard() == ["models"]
        operator.execute("select private.resume()")


@pytest.mark.parametrize("order", ["pause", "resume"])
def test_a_model_that_nobody_knows_is_neither_paused_nor_resumed(
    order: LiteralString, common: Database
) -> None:
    with common.connect("precis_owner") as operator, refused("unknown_model"):
        operator.execute(f"select private.{order}('none:such')")


def test_requests_are_accepted_while_all_is_paused_and_keep_their_place(database: Database) -> None:
    some_model(database)
    with database.connect("precis_owner") as operator, acting(database, sign_up(database)) as person:
        before = ask(person)
        operator.execute("select private.pause()")
        during = ask(person)
        operator.execute("select private.resume()")
        order = operator.execute("select request_id from private.job where state = 'ready' order by tag, id")
        assert order.fetchall() == [(before,), (during,)]


def test_a_paused_model_is_shown_as_not_available(database: Database) -> None:
    model = some_model(database)
    with database.connect() as operator:
        operator.execute("insert into private.host (url) values ('http://one')")
        operator.execute(
            "insert into private.host_model (host_id, model_id, digest, context_tokens)"
            " select h.id, %s, 'sha', 8192 from private.host h",
            [model],
        )
        shown = "select available from public.models"
        assert operator.execute(shown).fetchall() == [(True,)]
        operator.execute("select private.pause(%s)", [name_of(database, model)])
        assert operator.execute(shown).fetchall() == [(False,)]


def new_worker(operator: Connection) -> int:
    row = operator.execute(
        "insert into private.worker (name, version, lease_until) values ('w', '1', now()) returning id"
    ).fetchone()
    assert row is not None
    return int(str(row[0]))


def test_a_worker_is_drained_until_it_may_claim_again(common: Database) -> None:
    draining = "select draining from private.worker where id = %s"
    with common.connect() as operator:
        worker = new_worker(operator)
        for order, expected in (("drain(%s)", True), ("drain(%s, false)", False)):
            operator.execute(f"select private.{order}", [worker])
            assert operator.execute(draining, [worker]).fetchall() == [(expected,)]


def test_a_worker_that_nobody_knows_cannot_be_drained(common: Database) -> None:
    with common.connect("precis_owner") as operator, refused("unknown_worker"):
        operator.execute("select private.drain(-1)")


@pytest.mark.parametrize(
    ("state", "told"), [("ready", False), ("running", True), ("waiting", False), ("cancelled", False)]
)
def test_an_operator_cancels_anybodys_request(state: str, told: bool, common: Database) -> None:
    some_model(common)
    with (
        acting(common, sign_up(common)) as person,
        common.connect("precis_owner") as operator,
        listening(common, "precis_control") as heard,
    ):
        request = ask(person)
        put(common, request, state)
        operator.execute("select private.cancel(%s)", [request])
        assert heard() == ([str(request)] if told else [])
    assert state_of(common, request) == "cancelled"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_an_operator_retries_anybodys_request_whatever_their_quota(state: str, common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, common.connect("precis_owner") as operator:
        request = ask(person)
        put(common, request, state)
        operator.execute("insert into private.allowance (owner, requests_waiting) values (%s, 0)", [owner])
        operator.execute("select private.retry(%s)", [request])
    assert state_of(common, request) == "ready"


@pytest.mark.parametrize(
    ("order", "state", "code"),
    [("cancel", "done", "already_finished"), ("cancel", "failed", "already_finished"),
     ("retry", "ready", "not_failed"), ("retry", "running", "not_failed"), ("retry", "done", "not_failed")],
)  # fmt: skip
def test_an_operator_cannot_do_what_makes_no_sense(
    order: LiteralString, state: str, code: str, common: Database
) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect("precis_owner") as operator:
        request = ask(person)
        put(common, request, state)
        with refused(code):
            operator.execute(f"select private.{order}(%s)", [request])
    assert state_of(common, request) == state


@pytest.mark.parametrize("order", ["cancel", "retry"])
def test_a_request_that_is_not_there_is_said_to_be_so(order: LiteralString, common: Database) -> None:
    with common.connect("precis_owner") as operator, refused("request_not_found"):
        operator.execute(f"select private.{order}(%s)", [uuid4()])


def test_an_operators_order_and_a_persons_changes_do_not_deadlock(common: Database) -> None:
    some_model(common)
    rename: LiteralString = "update public.requests set title = 'Mine' where id = %s"
    with acting(common, sign_up(common)) as person, common.connect("precis_owner") as operator:
        first, last = ask(person), ask(person)
        order = threading.Thread(target=operator.execute, args=("select private.cancel(%s)", [last]))
        with person.transaction():
            person.execute(rename, [first])
            order.start()
            until_blocked(common, operator)
            person.execute(rename, [last])
        order.join()
    assert state_of(common, last) == "cancelled"


@pytest.mark.parametrize("role", ["pgrest_auth", "pgrest_anon", "listener", "listener_events", "authsvc"])
def test_nobody_but_an_operator_calls_these(role: str, common: Database) -> None:
    with common.connect() as connection:
        connection.execute(f"set role {role}")
        for function in FUNCTIONS:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"select {function}")


def rings(listener: Connection) -> int:
    row = listener.execute("select coalesce(pg_sequence_last_value('private.rings'), 0)").fetchone()
    assert row is not None
    return int(str(row[0]))


def test_the_rings_are_counted_and_what_rings_nobody_is_not(database: Database) -> None:
    some_model(database)
    with (
        acting(database, sign_up(database)) as person,
        database.connect("listener") as hungry,
        database.connect("listener") as reader,
    ):
        ask(person)
        assert rings(reader) == 0
        with hungry.transaction():
            hungry.execute("lock table private.bell in share mode")
            for count in (1, 2):
                ask(person)
                assert rings(reader) == count
        ask(person)
        assert rings(reader) == 2
