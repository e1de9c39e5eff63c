"""What passes does not end a part: a schema that is away for a moment, a primary that comes back as a
standby, a queue of notices that somebody keeps full."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.fix_postgres import SERVER_OPTIONS, Cluster, Database, running_cluster
from tests.fix_stack import Stack, running_stack
from tests.sql.acting import acting, ask, sign_up

pytestmark = pytest.mark.stack

PARTS = ("engine", "authsvc", "listener work", "listener events")
SERVICES = ("authsvc", "listener work", "listener events")
PATIENCE_SECONDS = 60.0
LATER = datetime.now(UTC) + timedelta(hours=1)
CUT = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like any (%s)"
OURS = ["authsvc%", "precis%"]
WATCHED = "update private.event_cursor set watched_until = now() + interval '1 min' returning n"
DONE = "select 1 from private.job where request_id = %s and state = 'done'"


def troubles(stack: Stack, part: str) -> int:
    """How often the part has said that something did not work."""
    return sum(line.get("level") == "warning" for line in stack.parts[part].lines())


@contextlib.contextmanager
def each_is_troubled(stack: Stack) -> Iterator[None]:
    """On the way out wait until each service has said something."""
    before = {part: troubles(stack, part) for part in SERVICES}
    yield
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(troubles(stack, part) > before[part] for part in SERVICES):
        assert time.monotonic() < deadline, before
        time.sleep(0.05)


def works(stack: Stack) -> None:
    """Nobody has ended, all are ready again, and a request is done."""
    for part in stack.parts.values():
        assert part.code is None, part.tail()
        part.wait_ready()
    with acting(stack.database, sign_up(stack.database)) as person:
        request = ask(person, text="Short.")
    stack.until(DONE, request)


def test_neither_a_schema_that_is_away_nor_a_primary_that_comes_back_as_a_standby_ends_anybody(
    own_cluster: Cluster,
) -> None:
    with running_stack(Database(own_cluster, "precis"), parts=PARTS) as stack:
        with each_is_troubled(stack):
            stack.query("alter schema private rename to hidden")
            stack.query(CUT, OURS)  # each looks at once
        stack.query("alter schema hidden rename to private")
        works(stack)
        own_cluster.stop()
        (own_cluster.folder / "data/standby.signal").touch()
        with each_is_troubled(stack):
            own_cluster.start()
        own_cluster.run("pg_ctl", "-D", str(own_cluster.folder / "data"), "promote")
        works(stack)


@pytest.fixture
def narrow() -> Iterator[Database]:
    """A database whose queue of notices is as short as it can be, which servers before 17 cannot have."""
    options = (*SERVER_OPTIONS, "-c", "max_notify_queue_pages=64")
    with running_cluster("18", options=options) as cluster:
        cluster.create_database("precis")
        cluster.dbmate("precis", "up")
        yield Database(cluster, "precis")


@contextlib.contextmanager
def full_queue(database: Database) -> Iterator[None]:
    """Somebody listens in an open transaction, and nothing more can be said."""
    with database.connect() as pin, database.connect() as speaker:
        pin.execute("listen anything")
        pin.execute("begin")
        pin.execute("select 1")
        with contextlib.suppress(psycopg.errors.ProgramLimitExceeded):
            for n in range(1000):
                speaker.execute("select pg_notify('anything', %s)", [f"{n:07900d}"])
        yield
        pin.execute("rollback")


def test_a_full_queue_of_notices_ends_nobody_and_refuses_no_insert(narrow: Database) -> None:
    person = sign_up(narrow)
    with running_stack(narrow, parts=PARTS) as stack:
        with full_queue(narrow):
            with pytest.raises(psycopg.errors.ProgramLimitExceeded), narrow.connect() as connection:
                connection.execute("select pg_notify('anything', repeat('x', 7900))")
            stack.query(WATCHED)
            with acting(narrow, person) as connection:
                requests = [ask(connection, text="Short.") for _ in range(5)]
                connection.execute("select public.cancel(%s)", [ask(connection, run_at=LATER)])
            for request in requests:
                stack.until(DONE, request)
            stack.query(CUT, OURS)  # who comes back to a full queue
            works(stack)
        works(stack)
