"""What a person, a worker and a sweep do to one job at once, in every order: one of them decides, and what is
counted stays right.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from listener.queue import jobs, rescue
from listener.queue.jobs import Claim, Finished
from tests.fix_work import Desk
from tests.listener.queue.racing import BLOCKED, Scene, blocked, gated, held_up, met, rescue_with, scene, told
from tests.sql.acting import acting

pytestmark = pytest.mark.services


async def finish(at: Scene) -> object:
    return await finish_by(at.worker.connection, at.claim)


async def finish_by(connection: "asyncpg.Connection[Any]", claim: Claim, body: str = "Short.") -> bool:
    return bool(await jobs.finish(connection, [Finished(claim, body, "{}", "{}")]))


async def fail(at: Scene) -> object:
    return await jobs.fail(at.worker.connection, at.claim, code="model_failed", message="No.")


async def back_off(at: Scene) -> object:
    return await jobs.back_off(
        at.worker.connection, at.claim, seconds=60, counted=True, code="model_failed", message="No."
    )


async def release(at: Scene) -> object:
    return bool(await jobs.release(at.worker.connection, [at.claim]))


async def claim(at: Scene) -> object:
    return bool(await at.worker.claim(at.model))


async def take_back(at: Scene) -> object:
    return bool((await rescue_with(at.sweeper)).requeued)


async def requeue(at: Scene) -> object:
    return bool((await rescue.requeue_overdue(at.sweeper.connection, [at.claim], max_attempts=5)).requeued)


Act = Callable[[Scene], Awaitable[object]]
OUTCOMES: dict[
    Act, tuple[str, str, str]
] = {  # ends the attempt as; leaves the job; which then can be cancelled
    finish: ("done", "done", "already_finished"),
    fail: ("failed", "failed", "already_finished"),
    back_off: ("retried", "cancelled", ""),
    release: ("released", "cancelled", ""),
    claim: ("cancelled", "cancelled", ""),
    take_back: ("rescued", "cancelled", ""),
    requeue: ("retried", "cancelled", ""),
}
SWEEPS: list[Act] = [take_back, requeue]
acts = pytest.mark.parametrize("act", OUTCOMES, ids=lambda act: act.__name__)


async def stage(desk: Desk, act: Act) -> Scene:
    """A scene in which the act would do something to the job."""
    at, _ = await scene(desk, running=act is not claim)
    if act is take_back:
        desk.expire(at.worker)
    return at


def actor(at: Scene, act: Act) -> "asyncpg.Connection[Any]":
    return (at.sweeper if act in SWEEPS else at.worker).connection


CANCEL, DELETE = "select from public.cancel(%s)", "delete from public.requests where id = %s"


@acts
async def test_what_meets_a_cancel_under_way_changes_nothing(desk: Desk, act: Act) -> None:
    at = await stage(desk, act)
    with acting(desk.database, at.person) as connection:
        with connection.transaction():
            assert told(connection, CANCEL, at.request) == ""
            acting_now = await met(desk, actor(at, act), act(at))
        assert not await acting_now
    assert desk.job(at.request)["state"] == "cancelled"
    assert at.outcomes() == ([] if act is claim else ["cancelled"])
    assert (at.waiting(), desk.query("select from private.result")) == (0, [])


@acts
async def test_a_cancel_that_meets_something_under_way_takes_what_it_left(desk: Desk, act: Act) -> None:
    at = await stage(desk, act)
    ended_as, left, refusal = OUTCOMES[act]
    with acting(desk.database, at.person) as connection:
        async with actor(at, act).transaction():
            assert await act(at)
            cancelling = asyncio.create_task(asyncio.to_thread(told, connection, CANCEL, at.request))
            await desk.until(BLOCKED, connection.info.backend_pid)
        assert await cancelling == refusal
    assert (desk.job(at.request)["state"], at.outcomes(), at.waiting()) == (left, [ended_as], 0)


@pytest.mark.parametrize("act", [claim, take_back], ids=lambda act: act.__name__)
async def test_what_was_cancelled_since_the_snapshot_is_neither_claimed_nor_taken_back(
    desk: Desk, act: Act
) -> None:
    at = await stage(desk, act)
    async with held_up(desk, at.worker) if act is claim else gated(desk, at.sweeper):
        acting_now = asyncio.ensure_future(act(at))
        await blocked(desk, actor(at, act))
        desk.call(at.person, "cancel", at.request)
    assert not await acting_now
    assert (desk.job(at.request)["state"], at.waiting()) == ("cancelled", 0)
    assert at.outcomes() == ([] if act is claim else ["cancelled"])


@acts
async def test_a_deleted_request_leaves_nothing_whatever_was_under_way(desk: Desk, act: Act) -> None:
    at = await stage(desk, act)
    with acting(desk.database, at.person) as connection:
        with connection.transaction():
            assert told(connection, DELETE, at.request) == ""
            under_way = await met(desk, actor(at, act), act(at))
        assert not await under_way
    at = await stage(desk, act)
    with acting(desk.database, at.person) as connection:
        async with actor(at, act).transaction():
            assert await act(at)
            deleting = asyncio.create_task(asyncio.to_thread(told, connection, DELETE, at.request))
            await desk.until(BLOCKED, connection.info.backend_pid)
        assert await deleting == ""
    for rows in ("job", "request", "result", "attempt"):
        assert desk.query(f"select from private.{rows}") == []
    assert at.waiting() == 0


async def test_of_two_retries_at_once_one_counts(desk: Desk) -> None:
    at, _ = await scene(desk)
    desk.call(at.person, "cancel", at.request)
    retry = "select from public.retry(%s)"
    with acting(desk.database, at.person) as one, acting(desk.database, at.person) as other:
        with one.transaction():
            assert told(one, retry, at.request) == ""
            retrying = asyncio.create_task(asyncio.to_thread(told, other, retry, at.request))
            await desk.until(BLOCKED, other.info.backend_pid)
        assert await retrying == "not_failed"
    assert (desk.job(at.request)["state"], at.waiting()) == ("ready", 1)


# The same finish twice: its commit's answer was lost


@pytest.mark.parametrize("ends", ["commit", "rollback", "killed"])
async def test_a_finish_repeated_while_the_first_is_in_flight_is_accepted_once(desk: Desk, ends: str) -> None:
    at, _ = await scene(desk)
    claim = at.claim
    again = await desk.connect()
    first = at.worker.connection.transaction()
    await first.start()
    assert await finish(at)
    repeating = asyncio.create_task(finish_by(again, claim, "Again."))
    await blocked(desk, again)
    if ends == "killed":
        desk.query("select pg_terminate_backend(%s)", at.worker.connection.get_server_pid())
    else:
        await (first.commit() if ends == "commit" else first.rollback())
    assert await repeating
    assert at.outcomes() == ["done"]
    body = "Short." if ends == "commit" else "Again."
    assert desk.query("select epoch, body from private.result") == [(claim.epoch, body)]


async def test_a_finish_of_another_epoch_is_refused_while_the_newest_is_in_flight_and_after(
    desk: Desk,
) -> None:
    at, old = await scene(desk)
    assert old is not None
    await jobs.release(at.worker.connection, [at.claim])
    await at.worker.claim_one(at.model)
    zombie = await desk.connect()
    async with at.worker.connection.transaction():
        assert await finish(at)
        late = asyncio.create_task(finish_by(zombie, old.claim, "Old."))
        await met(desk, zombie, late)
    assert not await late
    assert not await finish_by(zombie, old.claim, "Old.")
    assert desk.query("select epoch, body from private.result") == [(2, "Short.")]
