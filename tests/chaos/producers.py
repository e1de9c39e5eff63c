"""People who ask through PostgREST for as long as there is room, each row under a key of its own.

An unclear answer (an error, a connection that broke, silence) is asked again under the same key until it is
clear: so every row that was accepted is known, and none is asked for twice.
"""

import asyncio
import contextlib
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import aiohttp

from tests.chaos.model_server import MODELS, SENTENCE
from tests.fix_tokens import Person
from tests.stack.client import story

ANSWER_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05
PAUSE_SECONDS = 0.3  # at most, before an unclear answer is asked for again
ASKERS = 4  # of each person, at once
SENTENCES = 8
WORDS = len(SENTENCE.split())  # or each would be asked twice


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row that PostgREST has answered for with 2xx."""

    mark: int
    request: UUID
    person: UUID
    at: float  # seconds since the epoch
    fault: str  # what was going on then


@dataclass
class Producers:
    """`run` until `stop`ped. They ask while fewer than `room` rows are `waiting`."""

    url: str
    people: Sequence[Person]
    chance: random.Random
    room: int
    waiting: int = 0
    fault: str = ""
    accepted: list[Accepted] = field(default_factory=list)
    unclear: Counter[str] = field(default_factory=Counter)
    _asked: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _stopping: bool = False

    def stop(self) -> None:
        """Ask for nothing new. What is unclear is asked for until it is clear."""
        self._stopping = True

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout) as http, asyncio.TaskGroup() as group:
            for person, n in itertools.product(self.people, range(ASKERS)):
                group.create_task(self._ask_on(http, person), name=f"asker {person.account} {n}")

    async def _ask_on(self, http: aiohttp.ClientSession, person: Person) -> None:
        while not self._stopping:
            if self.waiting >= self.room:
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                continue
            self.waiting += 1  # until it is counted anew
            mark = next(self._asked)
            request = await self._ask(http, person, mark)
            self.accepted.append(Accepted(mark, request, person.account, time.time(), self.fault))

    async def _ask(self, http: aiohttp.ClientSession, person: Person, mark: int) -> UUID:
        text = story(SENTENCES, f"chaos-{mark}")
        model = MODELS[mark % len(MODELS)]
        body = {"task": "summarize", "text": text, "model": model, "title": str(mark), "target_words": WORDS}
        while True:
            headers = person.headers() | {"Idempotency-Key": f"chaos-{mark}", "Prefer": "return=minimal"}
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.post(f"{self.url}/requests", json=body, headers=headers) as answer:
                    if answer.status in (200, 202):
                        return UUID(answer.headers["Location"].rpartition(".")[2])
                    self.unclear[str(answer.status)] += 1
                    await self._pause()
                    continue
            self.unclear["broken off"] += 1
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(self.chance.uniform(0, PAUSE_SECONDS))
