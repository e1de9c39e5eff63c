"""Who is seated where: jobs claimed ahead where calls are short, and what becomes of them when they were
claimed in vain."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from chassis.service import Lifecycle
from listener.model.breaker import ANSWERED, UNKNOWN, Caller
from listener.model.hosts import Host, Hosts
from listener.queue.slots import SlotKey
from listener.queue.workers import Share
from listener.work import slots
from listener.work.slots import Permit, Place, Slots, WaitingLine
from tests.fix_work import Desk
from tests.listener.model.small_server import SmallServer, is_running, serving
from tests.listener.tasks.script import Script
from tests.sql.acting import acting

HERE = Place(1, 10)
SHORT = 0.01
ENDED = "select 1 from private.job where request_id = %s and state = 'done'"
# Rings, too: the worker may still be busy with jobs whose end is seen here already.
FOUR_RUN = """
with ring as materialized (select pg_notify('precis_bell', ''))
select 1 where (select count(*) from ring) + (select count(*) from private.job where state = 'running') = 5
"""
TWO_HANDED_BACK = """
select 1 from private.job where state = 'ready' and attempts = 0 and epoch > 0 having count(*) = 2
"""
UNASKED_ARE_READY = "select 1 from private.job where state = 'ready' and epoch = 0 having count(*) = 2"


def seated(model: Script, *, slots: int = 1) -> Slots:
    """Slots at one host, on a model whose last call was short."""
    host = Host("http://here", cast("Any", None), id=HERE.host_id, served={HERE.model_id: cast("Any", model)})
    hosts = Hosts(cast("Any", None), cast("Any", None), claimant=cast("Any", None), changed=lambda: None)
    hosts._hosts.append(host)
    made = Slots(hosts, may_begin=lambda: True, vacated=lambda: None)
    made.leased.add(SlotKey(HERE.host_id, HERE.model_id, n) for n in range(slots))
    made.note(HERE, SHORT)
    return made


def take(made: Slots) -> Permit:
    permit = made.take(HERE.model_id, Caller(uuid4(), uuid4()))
    assert permit is not None
    return permit


async def ask(permit: Permit, what: str = "") -> None:
    await permit.chat([{"content": what}], answer_tokens=1, hear=lambda _text: None)


@pytest.mark.parametrize(
    ("seconds", "slots", "ahead"),
    [((), 8, 0), ((0.2,), 8, 5), ((0.19,), 8, 6), ((3.0,), 8, 0), ((0.01,), 2, 2), ((0.1, 3.0), 8, 0)],
)
def test_so_many_are_ahead_as_slots_will_soon_be_vacated(
    seconds: tuple[float, ...], slots: int, ahead: int
) -> None:
    line = WaitingLine()
    line.seconds.extend(seconds)
    assert line.most_ahead(slots) == ahead


async def test_who_waits_begins_when_a_slot_is_vacated_and_never_before() -> None:
    script = Script(["One.", "Two."])
    made = seated(script)
    first, second = take(made), take(made)
    waiting = asyncio.create_task(ask(second))
    await asyncio.sleep(0)
    assert script.asked == []
    first.leave(ANSWERED)
    await waiting
    assert len(script.asked) == 1


@pytest.mark.parametrize(("seconds", "idle"), [(SHORT, 1), (60.0, 0)], ids=["short", "long"])
async def test_a_slot_stays_with_its_job_after_the_call_only_where_calls_are_long(
    seconds: float, idle: int
) -> None:
    made = seated(Script(["One."]), slots=2)  # the call takes 0.2 s, it says
    made.note(HERE, seconds)
    permit, _other = take(made), take(made)
    await ask(permit)
    assert len(made.leased.idle(HERE.model_id)) == idle


async def test_a_second_turn_comes_before_those_who_had_none() -> None:
    script = Script(["One.", "Two.", "Three."])
    made = seated(script, slots=2)
    made.note(HERE, SHORT)
    first, blocker, _ahead = take(made), take(made), take(made)
    await ask(first, "first")  # short: its slot is the next one's
    later = asyncio.create_task(ask(take(made), "later"))
    again = asyncio.create_task(ask(first, "again"))
    await asyncio.sleep(0)
    blocker.leave(UNKNOWN)
    await again
    await later
    assert [messages[0]["content"] for messages in script.asked] == ["first", "again", "later"]


@pytest.mark.parametrize("why", ["paused", "gone", "left"])
async def test_who_waits_in_vain_is_told(why: str) -> None:
    made = seated(Script([]))
    permit = take(made), take(made)
    waiting = asyncio.create_task(ask(permit[1]))
    await asyncio.sleep(0)
    if why == "paused":
        made.see([Share(HERE.model_id, clock=0, slots=0, unleased=0, workers=1)])
    elif why == "gone":
        made.leased.clear()
        made.settle()
    else:
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError if why == "left" else slots.NoSlotError):
        await waiting
    permit[1].leave(UNKNOWN)
    assert made.leased.free(HERE.model_id, [HERE.host_id]) == 0
    permit[0].leave(UNKNOWN)
    assert made.leased.held(HERE.model_id) == len(made.leased.idle(HERE.model_id))


async def test_nobody_is_ahead_at_a_server_on_trial() -> None:
    made = seated(Script([]))
    assert made.ahead(HERE.model_id) == 1
    made._hosts._hosts[0].breaker.state = "half_open"
    assert made.ahead(HERE.model_id) == 0
    assert made.take(HERE.model_id, Caller(uuid4(), uuid4())) is not None
    assert made.take(HERE.model_id, Caller(uuid4(), uuid4())) is None


@asynccontextmanager
async def two_ahead(desk: Desk, **changes: Any) -> AsyncIterator[tuple[SmallServer, Lifecycle, list[UUID]]]:
    """A worker with two slots whose calls were short and now do not end: four jobs are with it."""
    async with serving("one:latest") as server, desk.working(server.url, **changes) as lifecycle:
        person = desk.person()
        for request in desk.ask_many(person, 2):
            await desk.until(ENDED, request)
        server.open.clear()
        requests = desk.ask_many(person, 4)
        await desk.until(FOUR_RUN)
        await is_running(server, 2)
        yield server, lifecycle, requests


@pytest.mark.services
async def test_jobs_claimed_ahead_go_back_uncounted_when_calls_take_longer_after_all(desk: Desk) -> None:
    async with two_ahead(desk) as (server, _, requests):
        await desk.until(TWO_HANDED_BACK)
        assert server.running == 2
        server.open.set()
        for request in requests:
            await desk.until(ENDED, request)
        assert server.most == 2


@pytest.mark.services
async def test_jobs_claimed_ahead_can_be_cancelled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PATIENCE_SECONDS", 60.0)
    async with two_ahead(desk) as (server, _, requests):
        calls = server.calls
        (owner,) = desk.query("select owner from private.request where id = %s", requests[0])[0]
        with acting(desk.database, owner) as connection:  # at one moment: no slot is vacated for another
            for request in requests:
                connection.execute("select from public.cancel(%s)", [request])
        await is_running(server, 0)
        server.open.set()
        await desk.until(ENDED, desk.ask(owner))
        assert server.calls == calls + 2  # of the last one alone
    assert {desk.job(request)["state"] for request in requests} == {"cancelled"}


@pytest.mark.services
async def test_a_stop_hands_back_at_once_what_was_claimed_ahead(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slots, "PATIENCE_SECONDS", 60.0)
    async with two_ahead(desk, drain_seconds=20.0) as (server, lifecycle, _):
        lifecycle.stopping.set()
        await desk.until(TWO_HANDED_BACK)
        assert server.running == 2
        server.open.set()


@pytest.mark.services
async def test_a_pause_hands_back_what_was_claimed_ahead(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PATIENCE_SECONDS", 60.0)
    async with two_ahead(desk) as (server, _, requests):
        desk.query("select from private.pause()")
        await desk.until(TWO_HANDED_BACK)
        desk.query("select from private.resume()")
        server.open.set()
        for request in requests:
            await desk.until(ENDED, request)


@pytest.mark.services
async def test_nothing_is_claimed_ahead_before_calls_have_shown_that_they_are_short(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        server.open.clear()
        desk.ask_many(desk.person(), 4)
        await desk.until("select 1 from private.job where state = 'running' having count(*) = 2")
        (renewed,) = await desk.until("select lease_until from private.worker")
        await desk.until("select 1 from private.worker where lease_until > %s", renewed)
        assert desk.query(UNASKED_ARE_READY)
        server.open.set()
