"""One attempt: whatever goes wrong in it ends here, as an outcome that the database knows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

import pytest

from listener.attempt import Attempt, Stop, Surroundings
from listener.errors import CapacityError, PermanentError, TransientError, UnreachableError
from listener.model import Model
from listener.partials import Partials
from listener.registry import SlotKey
from tests.fix_work import Desk
from tests.listener.tasks.script import Script, sentences

pytestmark = pytest.mark.services


@dataclass
class Raising(Script):
    """A model whose call ends in an error, or never."""

    error: Exception | None = None
    refusals: int = 1
    asking: asyncio.Event = field(default_factory=asyncio.Event)

    async def chat(self, *_arguments: Any, **_named: Any) -> Any:
        self.asking.set()
        if self.error:
            raise self.error
        await asyncio.Event().wait()


@dataclass
class Bench:
    """An attempt that is ready to run, and what it told its surroundings."""

    attempt: Attempt
    request: UUID
    expected: list[float] = field(default_factory=list)
    suspected: list[int] = field(default_factory=list)


@asynccontextmanager
async def bench(desk: Desk, model: Script, *, deadline_seconds: float = 30.0) -> AsyncIterator[Bench]:
    model_id = await desk.model()
    worker = await desk.worker(model_id)
    request = desk.ask(desk.person(), sentences(20), target_words=50)
    claimed = await worker.claim_one(model_id)
    expected: list[float] = []
    suspected: list[int] = []
    async with desk.statements() as pool:
        around = Surroundings(pool, Partials(pool), deadline_seconds, 3, expected.append, suspected.append)
        attempt = Attempt(claimed, SlotKey(9, model_id, 1), cast("Model", model), around)
        yield Bench(attempt, request, expected, suspected)


ENDS = [
    (TransientError("model_failed", "."), "ready", 1, None),
    (CapacityError("model_busy", "."), "ready", 0, None),
    (PermanentError("model_refused", "No."), "failed", 1, "model_refused"),
    (ZeroDivisionError(), "ready", 1, None),
]


@pytest.mark.parametrize(
    ("error", "state", "attempts", "code"), ENDS, ids=[type(row[0]).__name__ for row in ENDS]
)
async def test_an_error_becomes_an_outcome(
    desk: Desk, error: Exception, state: str, attempts: int, code: str | None
) -> None:
    async with bench(desk, Raising([], error=error)) as made:
        await made.attempt.run()
    job = desk.job(made.request)
    assert (job["state"], job["attempts"], job["error_code"]) == (state, attempts, code)
    assert len(made.expected) == (state == "ready")


async def test_a_host_that_does_not_answer_is_suspected(desk: Desk) -> None:
    async with bench(desk, Raising([], error=UnreachableError("model_unreachable", "."))) as made:
        await made.attempt.run()
    assert made.suspected == [9]


async def test_an_attempt_past_its_deadline_is_tried_again(desk: Desk) -> None:
    async with bench(desk, Raising([]), deadline_seconds=0.05) as made:
        await made.attempt.run()
    assert desk.job(made.request)["state"] == "ready"
    assert desk.job(made.request)["run_at"]


@pytest.mark.parametrize(
    ("why", "state", "attempts"), [("lost", "running", 1), ("fenced", "ready", 0), ("drained", "ready", 0)]
)
async def test_who_is_stopped_hands_back_what_is_still_ours(
    desk: Desk, why: Stop, state: str, attempts: int
) -> None:
    model = Raising([])
    async with bench(desk, model) as made:
        running = asyncio.create_task(made.attempt.run())
        await model.asking.wait()
        made.attempt.stop(why)
        await asyncio.wait_for(running, 10)
    job = desk.job(made.request)
    assert (job["state"], job["attempts"], job["run_at"]) == (state, attempts, None)


async def test_who_is_stopped_before_it_began_hands_back_as_well(desk: Desk) -> None:
    model = Raising([])
    async with bench(desk, model) as made:
        made.attempt.stop("drained")
        await made.attempt.run()
    assert not model.asking.is_set()
    assert desk.job(made.request)["state"] == "ready"


async def test_a_stop_does_not_take_back_a_result_that_is_being_written(desk: Desk) -> None:
    async with bench(desk, Script([sentences(5)])) as made:
        with desk.database.connect() as holder, holder.transaction():
            holder.execute("select from private.job for update")
            running = asyncio.create_task(made.attempt.run())
            waits = (
                "select from pg_stat_activity where application_name = 'test' and wait_event_type = 'Lock'"
            )
            await desk.until(waits)
            made.attempt.stop("drained")
        await asyncio.wait_for(running, 10)
    assert desk.job(made.request)["state"] == "done"
