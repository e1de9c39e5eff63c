"""A job that contradicts itself is refused by the trigger on private.job, whoever writes it and among however
many others."""

from collections.abc import Iterator
from typing import LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.fix_postgres import Database
from tests.sql.acting import Connection, acting, ask, sign_up, some_model

pytestmark = pytest.mark.sql

CONTRADICTIONS: dict[str, LiteralString] = {
    "a state that is none": "state = 'lost'",
    "a kind that is none": "kind = 'branch'",
    "running, and no worker": "state = 'running'",
    "a worker, and not running": "worker_id = 1",
    "done, and no end": "state = 'done'",
    "an end, and not done": "finished_at = now()",
    "failed, and no reason": "state = 'failed', finished_at = now()",
    "a priority beyond its bounds": "priority = 2",
    "more progress than there is": "progress = 1.5",
    "a progress that is no number": "progress = 'NaN'",
}

JOBS: LiteralString = "select * from private.job where request_id = any (%s) order by id"
# The last one of them comes to contradict itself, the others get another tag.
CHANGE: LiteralString = """
    with last as (select max(id) as id from private.job where request_id = any (%s)),
    good as (update private.job j set tag = tag + 1 from last where j.id = last.id - 1)
    update private.job j set {} from last where j.id = last.id"""


@pytest.fixture
def requests(common: Database) -> Iterator[tuple[Connection, list[UUID]]]:
    """Three that wait, and a connection that may change all of a job."""
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect() as operator:
        yield operator, [ask(person) for _ in range(3)]


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_one_contradiction_among_good_changes_refuses_them_all(
    contradiction: str, requests: tuple[Connection, list[UUID]]
) -> None:
    operator, ids = requests
    before = operator.execute(JOBS, [ids]).fetchall()
    with pytest.raises(psycopg.errors.CheckViolation, match="would contradict itself") as caught:
        operator.execute(CHANGE.format(CONTRADICTIONS[contradiction]), [ids])
    assert caught.value.diag.constraint_name == "job_is_sound"
    assert operator.execute(JOBS, [ids]).fetchall() == before


def test_a_job_cannot_be_inserted_in_contradiction_either(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect() as operator:
        request = ask(person)
        with pytest.raises(psycopg.errors.CheckViolation):
            operator.execute(
                "insert into private.job (request_id, owner, model_id, kind, state)"
                " select request_id, owner, model_id, 'chunk', 'running' from private.job"
                " where request_id = %s",
                [request],
            )


def test_a_request_names_its_root_job(common: Database) -> None:
    some_model(common)
    with acting(common, sign_up(common)) as person, common.connect() as operator:
        requests = [ask(person) for _ in range(3)]
        named = operator.execute(
            "select r.id from private.request r join private.job j on j.id = r.job_id"
            " and j.request_id = r.id and j.kind = 'root' where r.id = any (%s) order by j.id",
            [requests],
        ).fetchall()
    assert [row[0] for row in named] == requests


def test_jobs_and_attempts_go_with_their_account(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, common.connect() as operator:
        request = ask(person)
        operator.execute(
            "insert into private.job (request_id, owner, model_id, kind) select request_id, owner, model_id,"
            " 'chunk' from private.job where request_id = %s",
            [request],
        )
        with common.connect("authsvc") as authsvc:
            authsvc.execute("delete from private.account where id = %s", [owner])
        assert operator.execute("select from private.job where owner = %s", [owner]).fetchall() == []


def test_a_result_goes_with_its_request(common: Database) -> None:
    some_model(common)
    owner = sign_up(common)
    with acting(common, owner) as person, common.connect("listener") as worker:
        request = ask(person)
        worker.execute(
            "insert into private.result (request_id, owner, epoch, body)"
            " select request_id, owner, 1, 'Short.' from private.job where request_id = %s",
            [request],
        )
        assert person.execute("select result from public.requests").fetchall() == [("Short.",)]
        person.execute("delete from public.requests where id = %s", [request])
        assert worker.execute("select from private.result where owner = %s", [owner]).fetchall() == []
