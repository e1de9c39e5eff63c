"""How an attempt at a job can end, and the write that makes it so, again and again until the database has
answered.

Decides on retries. Knows no model and no slot.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, assert_never

import asyncpg
import structlog

from chassis.backoff import Backoff, full_jitter
from chassis.database import passing, refused, told
from listener.errors import CapacityError, PermanentError, TaskError
from listener.queue import jobs
from listener.queue.connection import AT_ONCE
from listener.queue.jobs import Claimed, Connection, Finished
from listener.tasks.request import Result

BACKOFF_SECONDS = 1.0
BACKOFF_CAP_SECONDS = 60.0
MINUTE = 60.0
RESULT_REFUSED = (
    "The result holds what a database cannot keep, such as a NUL character. Try it again, or another model."
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Done:
    """There is a result."""

    result: Result


@dataclass(frozen=True, slots=True)
class Failed:
    """It will not work."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Again:
    """It may work later."""

    code: str
    message: str
    seconds: float
    counted: bool


@dataclass(frozen=True, slots=True)
class HandedBack:
    """It was our fault: at the front of the queue, as if it had not been tried."""


Outcome = Done | Failed | Again | HandedBack


def decide(
    error: TaskError,
    *,
    attempts: int,
    max_attempts: int,
    refusals: int,
    tried_seconds: float,
    budget_seconds: float,
) -> Failed | Again:
    """What becomes of a job whose attempt ended in `error`: `attempts` with this one, `refusals` in a row of
    its host, `tried_seconds` since its first claim.

    Full jitter up to a minute, not before a busy server wants to be asked again, and no further than the end
    of the budget.
    """
    if isinstance(error, PermanentError):
        return Failed(error.code, error.message)
    left_seconds = budget_seconds - tried_seconds
    if left_seconds <= 0:
        return _give_up(error, f"for {spoken(tried_seconds)}")
    if isinstance(error, CapacityError):
        seconds = max(jitter(refusals), error.retry_after_seconds)
        return Again(error.code, error.message, min(seconds, left_seconds), counted=False)
    if attempts >= max_attempts:
        return _give_up(error, f"{attempts} times")
    return Again(error.code, error.message, min(jitter(attempts), left_seconds), counted=True)


def _give_up(error: TaskError, how_long: str) -> Failed:
    message = error.message.replace(
        " it is tried again by itself.", f" it was tried {how_long}. Try it later."
    )
    return Failed(error.code, message)


def spoken(seconds: float) -> str:
    """A length of time in words, rounded."""
    if seconds < 2 * MINUTE:
        return f"{max(2, round(seconds))} seconds"
    if seconds < 120 * MINUTE:
        return f"{round(seconds / MINUTE)} minutes"
    return f"{round(seconds / MINUTE / 60)} hours"


def jitter(tries: int) -> float:
    """Seconds to wait after so many tries."""
    return full_jitter(tries, base=BACKOFF_SECONDS, cap=BACKOFF_CAP_SECONDS)


async def write(pool: "asyncpg.Pool[Any]", claimed: Claimed, outcome: Outcome) -> bool:
    """Make it so; whether the job was still ours. Does not give up while the database is away.

    Every outcome may be written twice: its commit's answer can get lost. The epoch lets only one count. A
    result that the database will never take fails its job, and nobody else's.
    """
    delays = Backoff(base=0.05, cap=2.0)
    while True:
        try:
            async with pool.acquire() as connection:
                return await _write_once(connection, claimed, outcome)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("outcome.not_written", error=told(error), job=claimed.job_id)
            if refused(error) and isinstance(outcome, Done):
                outcome = Failed("result_refused", RESULT_REFUSED)
                continue
            if getattr(error, "sqlstate", None) not in AT_ONCE:
                await asyncio.sleep(delays.next())


async def _write_once(connection: Connection, claimed: Claimed, outcome: Outcome) -> bool:
    claim = claimed.claim
    match outcome:
        case Done(result):
            checks, engine = json.dumps(result.checks), json.dumps(result.engine)
            return bool(await jobs.finish(connection, [Finished(claim, result.body, checks, engine)]))
        case Failed(code, message):
            return await jobs.fail(connection, claim, code=code, message=message)
        case Again(code, message, seconds, counted):
            return await jobs.back_off(
                connection, claim, seconds=seconds, counted=counted, code=code, message=message
            )
        case HandedBack():
            return bool(await jobs.release(connection, [claim]))
        case _:
            assert_never(outcome)
