"""B: a person who sends one small row a second, whatever becomes of the one before. Their waits, from the
moment of sending to the row's end, are what is measured.
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import uuid4

import aiohttp

from tests.neighbour.ground import Ground
from tests.neighbour.model_server import SENTENCE
from tests.stack.client import Client, story

EVERY_SECONDS = 1.0
ANSWER_SECONDS = 20.0
PAUSE_SECONDS = 0.2
LOOK_AGAIN_SECONDS = 0.1
WORDS = len(SENTENCE.split())  # or each would be asked twice
SENTENCES = 8
NEVER = float("inf")
OUTCOMES = """
select r.title::int as n, j.state, extract(epoch from j.finished_at)::float8 as ended
  from private.request r join private.job j on j.id = r.job_id where r.owner = $1 and r.title is not null
"""


@dataclass
class Steady:
    """`send` for some seconds, then read `waits`."""

    ground: Ground
    client: Client
    account: str
    model: str
    numbers: Iterator[int] = field(default_factory=itertools.count)
    sent: dict[int, float] = field(default_factory=dict)  # seconds since the epoch
    refusals: Counter[str] = field(default_factory=Counter)

    async def send(self, seconds: float) -> list[int]:
        """A row each second; their numbers."""
        began = len(self.sent)
        async with asyncio.TaskGroup() as group:
            for _ in range(round(seconds / EVERY_SECONDS)):
                group.create_task(self._insert(next(self.numbers)))
                await asyncio.sleep(EVERY_SECONDS)
        return list(self.sent)[began:]

    async def waits(self, numbers: list[int], *, patience_seconds: float) -> list[float]:
        """Seconds for each of these rows; NEVER if it is not done within the patience, or has failed."""
        deadline = time.monotonic() + patience_seconds
        while True:
            rows = await self.ground.postgres.fetch(OUTCOMES, self.account)
            ended = {row["n"]: row["ended"] for row in rows if row["state"] == "done"}
            final = {row["n"] for row in rows if row["state"] in ("done", "failed", "cancelled")}
            if final.issuperset(numbers) or time.monotonic() > deadline:
                return [ended.get(n, NEVER) - self.sent[n] for n in numbers]
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _insert(self, n: int) -> None:
        """Until it is accepted: under one key, as a good client does."""
        length = {"target_words": WORDS, "model": self.model, "title": str(n)}
        body = {"task": "summarize", "text": story(SENTENCES, f"b-{n}")} | length
        headers = {"Prefer": "return=minimal", "Idempotency-Key": str(uuid4())}
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        self.sent[n] = time.time()
        while True:
            try:
                answer = await self.client.rest(
                    "POST", "/requests", json=body, headers=headers, timeout=timeout
                )
                if answer.status in (200, 202):
                    return
                self.refusals[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.refusals[type(error).__name__] += 1
            await asyncio.sleep(PAUSE_SECONDS)
