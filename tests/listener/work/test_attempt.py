"""One attempt: whatever goes wrong in it ends here, as an outcome that the database knows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from listener.errors import CapacityError, PermanentError, TransientError, UnreachableError
from listener.model.breaker import UNKNOWN, Caller, Finding, Verdict
from listener.model.chat import Model
from listener.model.hosts import Hosts, Visit
from listener.offload.pool import Pool
from listener.offload.process import Budget
from listener.queue.connection import KeptConnection
from listener.queue.slots import SlotKey
from listener.work.attempt import Attempt, AttemptContext, Stop
from listener.work.previews import Previews
from listener.work.results import ResultWriter
from listener.work.slots import Permit, Place, Slots
from tests.fix_work import Desk
from tests.listener.tasks.script import Script, sentences

pytestmark = pytest.mark.services

AMPLE = Budget(cpu_seconds=20.0, memory_mb=512)


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
    expected: list[float]
    findings: list[Finding]
    suspected: asyncio.Event


@asynccontextmanager
async def bench(
    desk: Desk,
    model: Script,
    *,
    deadline_seconds: float = 30.0,
    budget_seconds: float = 3600.0,
    text: str = sentences(20),
    budget: Budget = AMPLE,
) -> AsyncIterator[Bench]:
    model_id = await desk.model()
    worker = await desk.worker(model_id)
    request = desk.ask(desk.person(), text, target_words=50)
    claimed = await worker.claim_one(model_id)
    expected: list[float] = []
    findings: list[Finding] = []
    suspected = asyncio.Event()
    line = KeptConnection(
        desk.database.url("listener"), name="test-results", command_seconds=3.0, lock_timeout="100ms"
    )
    async with desk.statements() as pool, line, Pool(budget) as texts:
        context = AttemptContext(
            pool,
            ResultWriter(line),
            Previews(line),
            texts,
            deadline_seconds,
            3,
            budget_seconds,
            expected.append,
        )
        visit = Visit(cast("Model", model), findings.append, suspected.set)
        attempt = Attempt(claimed, seated(model_id, visit), context)
        yield Bench(attempt, request, expected, findings, suspected)


def seated(model_id: int, visit: Visit) -> Permit:
    """At a server that only the visit knows."""
    hosts = Hosts(cast("Any", None), cast("Any", None), claimant=cast("Any", None), changed=lambda: None)
    slots = Slots(hosts, may_begin=lambda: True, vacated=lambda: None)
    permit = Permit(slots, Place(1, model_id), visit.model, Caller(uuid4(), uuid4()))
    permit.begin(SlotKey(1, model_id, 1), visit)
    return permit


ENDS = [
    (TransientError("model_failed", "."), "ready", 1, "model_failed"),
    (CapacityError("model_busy", "."), "ready", 0, "model_busy"),
    (PermanentError("model_refused", "No."), "failed", 1, "model_refused"),
    (ZeroDivisionError(), "ready", 1, "internal"),
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
    assert made.suspected.is_set()


VERDICTS = [
    (Script([sentences(5)]), sentences(20), "answered"),
    (Raising([], error=TransientError("stream_broken", ".")), sentences(20), "failed"),
    (Raising([], error=CapacityError("model_busy", ".")), sentences(20), "busy"),
    (Raising([], error=PermanentError("input_too_long", ".")), sentences(20), "unknown"),
    (Raising([], error=ZeroDivisionError()), sentences(20), "unknown"),
    (Script([]), "Short.", "unknown"),  # its own summary: nobody was asked
]


@pytest.mark.parametrize(
    ("model", "text", "verdict"),
    VERDICTS,
    ids=["answer", "broken", "busy", "too long", "our mistake", "no call"],
)
async def test_an_attempt_tells_once_what_it_found_of_the_server(
    desk: Desk, model: Script, text: str, verdict: Verdict
) -> None:
    async with bench(desk, model, text=text) as made:
        await made.attempt.run()
    assert [finding.verdict for finding in made.findings] == [verdict]


async def test_a_job_whose_time_is_used_up_has_failed(desk: Desk) -> None:
    error = TransientError("model_failed", "No luck; it is tried again by itself.")
    async with bench(desk, Raising([], error=error), budget_seconds=0.0) as made:
        await made.attempt.run()
    job = desk.job(made.request)
    assert (job["state"], job["error_code"], job["attempts"]) == ("failed", "model_failed", 1)
    assert job["error_message"] == "No luck; it was tried for 2 seconds. Try it later."


async def test_time_is_counted_from_the_first_claim(desk: Desk) -> None:
    async with bench(desk, Raising([], error=CapacityError("model_busy", ".")), budget_seconds=60.0) as made:
        made.attempt.claimed = made.attempt.claimed._replace(tried_seconds=60.0)
        await made.attempt.run()
    assert desk.job(made.request)["state"] == "failed"


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
    assert made.findings == [UNKNOWN]


async def test_who_is_stopped_before_it_began_hands_back_as_well(desk: Desk) -> None:
    model = Raising([])
    async with bench(desk, model) as made:
        made.attempt.stop("drained")
        await made.attempt.run()
    assert not model.asking.is_set()
    assert made.findings == [UNKNOWN]
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


async def test_a_text_that_is_too_costly_to_read_has_failed_for_good(desk: Desk) -> None:
    budget = Budget(cpu_seconds=0.001, memory_mb=512)
    async with bench(desk, Raising([]), text=sentences(10_000), budget=budget) as made:
        await made.attempt.run()
    job = desk.job(made.request)
    assert (job["state"], job["error_code"], job["attempts"]) == ("failed", "text_too_costly", 1)
    assert job["error_message"].startswith("To read this text takes more")
    assert [finding.verdict for finding in made.findings] == ["unknown"]
