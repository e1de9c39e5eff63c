"""One attempt at a job: load its source, run its task on a model, write the outcome. The edge where errors
end.

Knows no queue order and no slot.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import asyncpg
import structlog
from prometheus_client import Counter, Histogram

from listener.errors import NoSlotError, TaskError, UnreachableError
from listener.model.breaker import ANSWERED, UNKNOWN, judge
from listener.model.rulings import rule
from listener.offload.errors import BrokenOffError, TooCostlyError
from listener.offload.pool import Lane, Offload, Pool
from listener.queue.jobs import Claimed
from listener.sources.text import load
from listener.tasks.request import ChatModel, Emit, Request, Result, Style, Task
from listener.tasks.shorten import shorten
from listener.tasks.summarize import summarize
from listener.work import outcomes
from listener.work.outcomes import Again, Done, Failed, HandedBack, Outcome
from listener.work.previews import Previews
from listener.work.results import ResultWriter
from listener.work.slots import Permit

# lost: somebody else owns the job now, or it was cancelled. fenced, drained: we give it back. stalled: as
# well, but it may be what held this process up, so that counts.
Stop = Literal["lost", "fenced", "drained", "stalled"]

RUNS = Counter("precis_attempts_total", "Attempts at jobs, by how they ended.", ["task", "outcome"])
RUN_SECONDS = Histogram(
    "precis_attempt_seconds",
    "Time of an attempt, from the claim to its written outcome.",
    ["task"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)

# Of what made a result, this is told in the log.
TOLD = ("engine", "calls", "corrected", "prompt_tokens", "output_tokens", "first_token_seconds")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AttemptContext:
    """What all attempts of a worker share."""

    pool: "asyncpg.Pool[Any]"
    finisher: ResultWriter
    partials: Previews
    texts: Pool
    deadline_seconds: float
    max_attempts: int
    budget_seconds: float
    expect: Callable[[float], None]  # a job will be due in so many seconds


@dataclass(slots=True)
class Attempt:
    """`run` it as a task; `stop` it from outside."""

    claimed: Claimed
    permit: Permit
    context: AttemptContext
    _task: "asyncio.Task[None] | None" = None
    _stopped: Stop | None = None
    _writing: bool = False
    _texts: Lane = field(init=False)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._texts = self.context.texts.owner(self.claimed.owner)

    @property
    def text_seconds(self) -> float:
        """For how long the piece of work on a text that goes on now has been going on; 0 if there is none."""
        return self._texts.busy_seconds

    def stop(self, why: Stop) -> None:
        """End the model call. An outcome that is being written stays: its epoch says whether it counts."""
        if self._stopped is None:
            self._stopped = why
            if self._task is not None and not self._writing:
                self._task.cancel()

    def give_up(self) -> None:
        """End at once, whatever is being written: the process leaves."""
        if self._task is not None:
            self._stopped = None
            self._task.cancel()

    async def run(self) -> None:
        """Never raises, except when cancelled otherwise than by `stop`."""
        self._task = asyncio.current_task()
        outcome = await self._outcome()
        self._writing = True
        await self.context.partials.close(self.claimed.claim)
        accepted = outcome is not None and await self._write(outcome)
        if accepted and isinstance(outcome, Again):
            self.context.expect(outcome.seconds)
        self._report(outcome if accepted else None)

    async def _write(self, outcome: Outcome) -> bool:
        if isinstance(outcome, Done):
            result = outcome.result
            accepted = await self.context.finisher.finish(
                self.claimed.claim,
                body=result.body,
                checks=result.checks,
                engine=result.engine,
            )
            if accepted is not None:
                return accepted
        return await outcomes.write(self.context.pool, self.claimed, outcome)

    async def _outcome(self) -> Outcome | None:
        """None if nothing is ours to write."""
        finding = UNKNOWN
        try:
            if self._stopped is None:
                result = await self._work()
                finding = ANSWERED if result.engine.get("calls") else UNKNOWN
                return Done(result)
        except NoSlotError:
            return HandedBack()
        except TaskError as error:
            finding = judge(error)
            return self._decide(error)
        except asyncio.CancelledError:
            if self._stopped is None or self._task is None:
                raise
            self._task.uncancel()
        except Exception:
            log.exception("request.internal_error", request=str(self.claimed.request_id))
            return self._decide(rule("internal"))
        finally:
            self.permit.leave(finding)
        if self._stopped == "stalled":
            return self._decide(rule("worker_stalled"))
        return None if self._stopped == "lost" else HandedBack()

    async def _work(self) -> Result:
        emit = self.context.partials.open(self.claimed.claim)
        try:
            async with asyncio.timeout(self.context.deadline_seconds):
                request = request_of(self.claimed, await load(self.claimed, self._texts))
                return await run_task(request, model=self.permit, emit=emit, offload=self._texts)
        except TimeoutError as error:
            raise rule("deadline_exceeded") from error
        except TooCostlyError as error:
            raise rule("text_too_costly") from error
        except BrokenOffError as error:
            raise rule("internal") from error

    def _decide(self, error: TaskError) -> Outcome:
        if isinstance(error, UnreachableError) or error.code == "model_not_found":
            self.permit.suspect()
        return outcomes.decide(
            error,
            attempts=self.claimed.attempts,
            max_attempts=self.context.max_attempts,
            refusals=self.permit.model.refusals,
            tried_seconds=self.claimed.tried_seconds + self.seconds,
            budget_seconds=self.context.budget_seconds,
        )

    def outstays(self, seconds: float) -> bool:
        """Whether it has run for longer, and nobody has taken the job from it yet."""
        return self._stopped != "lost" and self.seconds > seconds

    @property
    def seconds(self) -> float:
        """For how long it has run."""
        return time.monotonic() - self._started

    def _report(self, outcome: Outcome | None) -> None:
        """The one line about this attempt."""
        seconds = self.seconds
        name, facts = _describe(outcome)
        log.info(
            f"request.{name}",
            request=str(self.claimed.request_id),
            job=self.claimed.job_id,
            epoch=self.claimed.epoch,
            attempt=self.claimed.attempts,
            task=self.claimed.task,
            model=self.permit.name,
            waited=round(self.claimed.waited_seconds, 4),
            seconds=round(seconds, 4),
            **facts,
        )
        RUNS.labels(self.claimed.task, name).inc()
        RUN_SECONDS.labels(self.claimed.task).observe(seconds)


def request_of(claimed: Claimed, text: str) -> Request:
    """The task's view of a claimed job."""
    return Request(
        task=cast("Task", claimed.task),
        text=text,
        target_words=claimed.target_words,
        target_ratio=claimed.target_ratio,
        style=cast("Style", claimed.style),
        language=claimed.language,
    )


async def run_task(request: Request, *, model: ChatModel, emit: Emit, offload: Offload) -> Result:
    """The result of the request's task. Raises TaskError and OffloadError."""
    match request.task:
        case "summarize":
            return await summarize(request, model=model, emit=emit, offload=offload)
        case "shorten":
            return await shorten(request, model=model, emit=emit, offload=offload)


def _describe(outcome: Outcome | None) -> tuple[str, dict[str, Any]]:
    match outcome:
        case Done(result):
            return "done", {name: result.engine[name] for name in TOLD if name in result.engine}
        case Failed(code):
            return "failed", {"error": code}
        case Again(code, _, seconds, counted):
            return "backed_off", {"error": code, "again_in": round(seconds, 2), "counted": counted}
        case HandedBack():
            return "handed_back", {}
        case None:
            return "lost", {}
