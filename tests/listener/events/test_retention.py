"""What is older than the promised days goes, and a client that would resume from it is told."""

import pytest

from chassis.database import pool
from listener.events import retention
from tests.fix_events import Rows
from tests.fix_postgres import Database
from tests.fix_tokens import Tokens

pytestmark = pytest.mark.services


async def test_old_events_go_in_batches_and_the_cursor_says_how_far(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.retention.BATCH_EVENTS", 2)
    ann, bob = tokens.person(), tokens.person()
    for _ in range(5):
        rows.insert(ann)
    rows.insert(bob)
    rows.execute(
        "update private.event set at = now() - interval '7 days 1 second' where owner = %s and n <= 4",
        ann.account,
    )
    async with pool(database.url("listener_events"), name="test", size=1) as connections:
        await retention.prune(connections)
    kept = rows.execute("select owner, n from private.event order by n")
    assert set(kept) == {(ann.account, 5), (bob.account, 1)}
    cursors = rows.execute("select owner, n, min_n from private.event_cursor")
    assert set(cursors) == {(ann.account, 5, 4), (bob.account, 1, 0)}


async def test_two_processes_do_not_prune_at_once(database: Database, tokens: Tokens, rows: Rows) -> None:
    rows.insert(tokens.person())
    rows.execute("update private.event set at = '-infinity'")
    async with pool(database.url("listener_events"), name="test", size=1) as connections:
        with rows.database.connect() as other, other.transaction():
            other.execute("select pg_advisory_xact_lock(hashtext('precis.prune_events'))")
            await retention.prune(connections)
            assert rows.execute("select count(*) from private.event") == [(1,)]
        await retention.prune(connections)
    assert rows.execute("select count(*) from private.event") == [(0,)]


async def test_tickets_that_nobody_used_go_as_well(database: Database, rows: Rows) -> None:
    rows.execute(
        "insert into private.event_ticket (hash, claims, expires_at)"
        " values ('old', '{}', now()), ('new', '{}', now() + interval '1 minute')"
    )
    async with pool(database.url("listener_events"), name="test", size=1) as connections:
        await retention.prune(connections)
    assert rows.execute("select hash from private.event_ticket") == [(b"new",)]
