"""Parts that go away and come back under a running stack: everybody recovers alone, nothing is lost."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.fix_postgres import running_cluster
from tests.fix_stack import PARTS, Stack, running_stack
from tests.stack.client import story

pytestmark = pytest.mark.stack

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()
SLOWLY = {"fault": "slow_drip", "seconds": 0.2}


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Stack]:
    """A stack whose Postgres may be stopped: no other test's database is in it."""
    with running_cluster() as cluster:
        database = cluster.create_database("precis")
        cluster.dbmate("precis", "up")
        with running_stack(database) as running:
            yield running


def pids(stack: Stack) -> dict[str, tuple[int, int | None]]:
    return {name: (part.pid, part.code) for name, part in stack.parts.items()}


async def test_all_parts_recover_by_themselves_when_postgres_restarts(own_postgres: Stack) -> None:
    stack = own_postgres
    before = pids(stack)
    async with stack.sign_up() as ada:
        with stack.faults(SLOWLY):
            running = (await ada.insert(story(40), target_words=150))["id"]
            stack.until("select 1 from private.partial where request_id = %s", running)
            waiting = (await ada.insert(story(5), run_at=TOMORROW))["id"]
            stack.database.cluster.stop("immediate")
            stack.database.cluster.start()
            for part in stack.parts.values():
                part.wait_ready()
        assert (await ada.until(running, "done", "failed", within=40))["state"] == "done"
        async with ada.watch() as events:
            await ada.rest("PATCH", f"/requests?id=eq.{waiting}", json={"run_at": None})
            await events.state(waiting, "done")
    assert pids(stack) == before


async def test_an_open_stream_survives_or_resumes_over_a_restart_of_postgres(own_postgres: Stack) -> None:
    stack = own_postgres
    async with stack.sign_up() as ada:
        async with ada.watch() as events:
            first = (await ada.insert(story(5)))["id"]
            await events.state(first, "done")
            stack.database.cluster.stop("fast")
            stack.database.cluster.start()
            for part in stack.parts.values():
                part.wait_ready()
        async with ada.watch(cursor=events.cursor) as resumed:
            second = (await ada.insert(story(6)))["id"]
            await resumed.state(second, "done")
    assert "reset" not in {event.kind for event in resumed.seen}


async def test_a_restart_of_postgrest_is_seen_by_nobody_else(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada, ada.watch() as events:
        with breakable_stack.faults(SLOWLY):
            request = (await ada.insert(story(40), target_words=120))["id"]
            await events.state(request, "running")
            breakable_stack.parts["postgrest"].restart()
        done = await events.state(request, "done")
        assert (await ada.row(request) or {})["result"] == done["result"]


async def test_tokens_outlive_a_restart_of_authsvc(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada:
        breakable_stack.parts["authsvc"].restart()
        assert (await ada.rest("GET", "/requests")).status == 200
        body = {"refresh_token": ada.tokens["refresh_token"]}
        refreshed = await ada.auth("POST", "/auth/refresh", json=body)
        assert refreshed.status == 200, refreshed
        fresh = await ada.rest("GET", "/requests", token=refreshed.json["access_token"])
        assert fresh.status == 200


async def test_every_part_leaves_with_zero_when_it_is_asked_to(breakable_stack: Stack) -> None:
    async with breakable_stack.sign_up() as ada, ada.watch() as events:
        await events.state((await ada.insert(story(5)))["id"], "done")
        codes = {name: breakable_stack.parts[name].stop() for name in reversed(PARTS) if name != "postgrest"}
        await events.closed()
    assert set(codes.values()) == {0}, codes
    assert events.seen[-1].kind == "bye"
