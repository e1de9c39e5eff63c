"""The attempts that run in this process: who they are, how they are stopped, how they come to an end."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from uuid import UUID

import structlog

from listener.queue.jobs import Claim
from listener.work.attempt import Attempt, Stop

TEXT_SECONDS = 1.0  # at a stop: what is done to a text is soon done again, and no model call is lost with it
HAND_BACK_SECONDS = 5.0

log = structlog.get_logger()


class Running:
    """`run` each attempt; `drain` at the end."""

    def __init__(self) -> None:
        self._attempts: dict[int, Attempt] = {}
        self._ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._attempts)

    def __iter__(self) -> Iterator[Attempt]:
        return iter(list(self._attempts.values()))

    async def run(self, attempt: Attempt) -> None:
        """To its end."""
        job_id = attempt.claimed.job_id
        try:
            await attempt.run()
        finally:
            if self._attempts.get(job_id) is attempt:
                del self._attempts[job_id]
            self._ended.set()

    def add(self, attempt: Attempt) -> None:
        """It is about to run."""
        self._attempts[attempt.claimed.job_id] = attempt

    def held(self) -> Sequence[tuple[int, int]]:
        """The (job, epoch)s that run here."""
        return [(attempt.claimed.job_id, attempt.claimed.epoch) for attempt in self]

    def of_model(self, model_id: int) -> int:
        """How many run on a model, or wait for it."""
        return sum(attempt.claimed.model_id == model_id for attempt in self)

    def has_request(self, request_id: UUID) -> bool:
        """Whether one of them works on it."""
        return any(attempt.claimed.request_id == request_id for attempt in self)

    def outstaying(self, seconds: float) -> Sequence[Claim]:
        """What has run for longer than that: its task does not end."""
        return [attempt.claimed.claim for attempt in self if attempt.outstays(seconds)]

    def stop(self, job_id: int, epoch: int, why: Stop) -> None:
        """That one, if it runs here."""
        attempt = self._attempts.get(job_id)
        if attempt is not None and attempt.claimed.epoch == epoch:
            attempt.stop(why)

    def stop_all(self, why: Stop) -> None:
        """All that run now."""
        for attempt in self:
            attempt.stop(why)

    async def drain(self, grace_seconds: float) -> None:
        """What runs may end within the grace, then it is handed back, uncounted."""
        if await self._ends_within(grace_seconds):
            return
        self.stop_all("drained")
        if not await self._becomes_idle(HAND_BACK_SECONDS):
            log.error("worker.not_handed_back", jobs=self.held())
            for attempt in self:
                attempt.give_up()

    async def _ends_within(self, grace_seconds: float) -> bool:
        """Whether all that runs has; work on a text gets no more than its second."""
        now = asyncio.get_running_loop().time
        until = now() + grace_seconds
        while not await self._becomes_idle(min(TEXT_SECONDS, until - now())):
            if now() >= until:
                return False
            for attempt in self:
                if attempt.text_seconds >= TEXT_SECONDS / 2:
                    attempt.stop("drained")
        return True

    async def _becomes_idle(self, within: float) -> bool:
        self._ended.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._attempts:
                    await self._ended.wait()
                    self._ended.clear()
        return not self._attempts
