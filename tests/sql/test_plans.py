"""What one person does reads that person's rows, not the tables of everybody."""

from uuid import UUID

import pytest

from tests.fix_postgres import Database
from tests.sql.acting import Connection, acting, ask, sign_up, some_model

pytestmark = pytest.mark.sql

# Finished requests of many people, with events and results, planned for as a database that has run for a
# while.
CROWD = """
    alter table private.request disable trigger user;
    alter table private.job disable trigger user;
    insert into private.account (email, email_key) select 'crowd' || n, 'crowd' || n from generate_series(1,
      200) n;
    insert into private.request (owner, task, text, model, body_hash)
      select a.id, 'summarize', 'text', 'm', '' from private.account a, generate_series(1, 40) where a.email
        ~ '^crowd';
    insert into private.job (id, request_id, owner, model_id, state, finished_at)
      select r.job_id, r.id, r.owner, 1, 'done', now() from private.request r;
    insert into private.result (request_id, owner, epoch, body) select r.id, r.owner, 1, 'body' from
      private.request r;
    insert into private.event (owner, n, kind, ref)
      select r.owner, row_number() over (partition by r.owner), 'request', r.id from private.request r;
    insert into private.partial (request_id, epoch, n, owner, text) select r.id, 0, 1, r.owner, 'text' from
      private.request r;
    insert into private.attempt (job_id, epoch, request_id, owner, worker_id, outcome)
      select j.id, 1, j.request_id, j.owner, 1, 'done' from private.job j;
    alter table private.request enable trigger user;
    alter table private.job enable trigger user;
    analyze;"""

WHOLE_READS = """
    select relname, seq_scan from pg_stat_user_tables where schemaname = 'private'
       and relname in ('request', 'job', 'result', 'event', 'partial', 'attempt') order by relname"""


# As a worker would, by the job's key.
TAKE = """
    update private.job set state = 'running', worker_id = 1
     where id = (select job_id from private.request where id = %s)"""


def whole_reads(database: Database, person: Connection) -> list[tuple[object, ...]]:
    """How often each of the large tables was read as a whole so far."""
    person.execute("select pg_stat_force_next_flush()")
    person.execute("select 1")
    with database.connect() as connection:
        return connection.execute(WHOLE_READS).fetchall()


def live(database: Database, person: Connection) -> UUID:
    """Everything that a client does in the life of requests."""
    person.execute("select set_config('request.headers', %s, false)", ['{"idempotency-key": "one"}'])
    request = ask(person)
    person.execute("select set_config('precis.key_used', '', false)")
    assert ask(person) == request
    person.execute("select set_config('request.headers', '', false)")
    person.execute("select * from public.requests order by created_at desc limit 20")
    person.execute("select * from public.requests where state = 'queued'")
    person.execute("select * from public.requests where id = %s", [request])
    person.execute("select * from public.partials where request_id = %s", [request])
    person.execute("select * from public.attempts where request_id = %s order by n", [request])
    person.execute("select * from public.usage")
    person.execute("select * from gate.event where n > 0 order by n limit 200")
    person.execute("update public.requests set title = 'Mine', priority = 1 where id = %s", [request])
    person.execute("select public.cancel(%s)", [request])
    person.execute("select public.retry(%s)", [request])
    with database.connect() as worker:
        worker.execute(TAKE, [request])
    person.execute("delete from public.requests where id = %s", [request])
    return request


def test_nothing_that_one_person_does_reads_a_large_table_as_a_whole(database: Database) -> None:
    some_model(database)
    with database.connect() as connection:
        connection.execute(CROWD)
    with acting(database, sign_up(database)) as person:
        before = whole_reads(database, person)
        live(database, person)
        assert whole_reads(database, person) == before
