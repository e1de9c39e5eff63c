"""A lease is renewed, obeyed, lost and taken anew; and what each renewal says is passed on."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from listener.queue.connection import KeptConnection
from listener.queue.silence import LAPSED_SECONDS, VANISHED_SECONDS
from listener.queue.workers import Renewal
from listener.work.lease import (
    NO_CALLS_SECONDS,
    NO_CLAIMS_SECONDS,
    RENEW_SECONDS,
    UNSEEN_NO_CALLS_SECONDS,
    UNSEEN_NO_CLAIMS_SECONDS,
    Lease,
)
from tests.fix_work import Desk

pytestmark = pytest.mark.services


@dataclass
class Holder:
    """Remembers what the lease says."""

    said: asyncio.Queue[str] = field(default_factory=asyncio.Queue)

    def held(self) -> Sequence[tuple[int, int]]:
        return [(1, 1)]

    def hosts(self) -> Sequence[int]:
        return [7]

    def models(self) -> Sequence[int]:
        return [5]

    def hear(self, renewal: Renewal, at: float) -> None:
        self.said.put_nowait("heard" if not renewal.lost else "lost")

    def abandon(self, *, stalled: bool) -> None:
        self.said.put_nowait("stalled" if stalled else "abandon")

    def lease_lost(self) -> None:
        self.said.put_nowait("lease_lost")

    async def next(self) -> str:
        return await asyncio.wait_for(self.said.get(), 15)


@asynccontextmanager
async def lease(desk: Desk) -> AsyncIterator[tuple[Lease, Holder]]:
    holder = Holder()
    async with KeptConnection(desk.database.url("listener"), name="test-lease", command_seconds=3.0) as line:
        held = Lease(line, name="test", version="0", holder=holder)
        await held.register()
        running = [asyncio.create_task(held.run()), asyncio.create_task(held.guard())]
        try:
            yield held, holder
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def test_a_worker_stops_well_before_its_lease_ends_and_is_not_judged_by_one_late_renewal() -> None:
    assert RENEW_SECONDS * 2 < VANISHED_SECONDS < NO_CLAIMS_SECONDS < NO_CALLS_SECONDS < LAPSED_SECONDS


def test_a_worker_that_is_not_seen_to_live_stops_before_it_is_thought_dead() -> None:
    assert RENEW_SECONDS < UNSEEN_NO_CLAIMS_SECONDS < UNSEEN_NO_CALLS_SECONDS < VANISHED_SECONDS


async def test_each_renewal_tells_what_is_served_and_brings_what_was_lost(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        assert await holder.next() == "lost"
        assert held.may_claim
        assert desk.query("select id, models from private.worker") == [(held.claimant.worker_id, [5])]


async def test_a_nudge_brings_a_renewal_at_once(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        await holder.next()
        before = asyncio.get_running_loop().time()
        held.nudge()
        await holder.next()
        assert asyncio.get_running_loop().time() - before < RENEW_SECONDS / 2


async def test_who_was_buried_lets_everything_go_and_becomes_somebody_else(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        await holder.next()
        first = held.claimant
        registered = asyncio.Event()
        held.on_register(registered.set)
        desk.query("delete from private.worker returning id")
        held.nudge()
        assert await holder.next() == "lease_lost"
        assert await holder.next() == "lost"
        assert registered.is_set()
        assert held.claimant.worker_id != first.worker_id


async def test_who_wants_to_leave_or_is_told_to_claims_nothing_more(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        await holder.next()
        desk.query("update private.worker set draining = true returning id")
        held.nudge()
        await holder.next()
        assert not held.may_claim


async def test_who_was_cut_off_does_not_judge_others_for_a_while(desk: Desk) -> None:
    silent = await desk.worker()
    async with lease(desk) as (held, holder):
        await holder.next()
        (seen_long_ago,) = held.silence.suspects(asyncio.get_running_loop().time() + LAPSED_SECONDS + 1)
        assert seen_long_ago.worker_id == silent.claimant.worker_id
        since = held.silence.due_at()
        held._renewed_at -= RENEW_SECONDS + 4
        held.nudge()
        await holder.next()
        assert held.fresh
        assert held.silence.due_at() > since


async def test_who_could_not_renew_does_not_judge_others_for_a_while(desk: Desk) -> None:
    await desk.worker()
    async with lease(desk) as (held, holder):
        await holder.next()
        with desk.database.connect() as jailer, jailer.transaction():
            jailer.execute("lock table private.worker in access exclusive mode")
            held.nudge()
            async with asyncio.timeout(10):
                while held.silence.due_at() < float("inf"):
                    await asyncio.sleep(0)


async def test_a_process_that_was_held_up_says_so_when_it_gives_up_its_calls(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.work.lease.UNSEEN_NO_CALLS_SECONDS", 0.3)
    monkeypatch.setattr("listener.work.lease.NO_CALLS_SECONDS", 0.3)
    async with lease(desk) as (_, holder):
        await holder.next()
        time.sleep(1)
        while (said := await holder.next()) not in ("stalled", "abandon"):
            pass
        assert said == "stalled"


async def test_after_a_crash_of_the_server_a_renewal_begins_a_new_incarnation(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        await holder.next()
        desk.query("delete from private.event_incarnation returning true")
        held.nudge()
        await holder.next()
        ((floor,),) = desk.query("select epoch_floor from private.event_incarnation")
        assert floor >= 1_000_000


async def test_without_a_renewal_calls_are_given_up_once(desk: Desk) -> None:
    async with lease(desk) as (held, holder):
        with desk.database.connect() as jailer, jailer.transaction():
            jailer.execute("lock table private.worker in access exclusive mode")
            held._renewed_at -= NO_CALLS_SECONDS - 1
            while await holder.next() != "abandon":
                pass
            assert not held.may_claim
        while await holder.next() == "abandon":
            pass
        assert held.may_claim


async def test_without_a_renewal_calls_are_given_up_far_sooner_if_nobody_sees_that_we_live(
    desk: Desk,
) -> None:
    async with lease(desk) as (held, holder):
        with desk.database.connect() as jailer, jailer.transaction():
            jailer.execute("lock table private.worker in access exclusive mode")
            held._renewed_at -= UNSEEN_NO_CALLS_SECONDS
            before = held.may_claim
            held.seen_by(lambda: False)
            assert (before, held.may_claim) == (True, False)
            while await holder.next() != "abandon":
                pass
            assert held.fresh
