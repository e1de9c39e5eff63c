"""A: a person who does one scenario for as long as they are let, in a process of their own, so that their
own work is not taken for the service's. Tells at the end what they were answered.

python -m tests.neighbour.aggressor SCENARIO < where, as JSON
"""

import asyncio
import itertools
import json
import os
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.neighbour.model_server import SENTENCE
from tests.stack.client import story

ANSWER_SECONDS = 30.0
PAUSE_SECONDS = 0.05  # after a refusal: a loop that is told to wait is no news
WORDS = len(SENTENCE.split())  # or each would be asked twice
SENTENCES = 8
ARRAY = 500
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Where:
    """Addresses, a token, and the model that B asks for too."""

    rest: str
    auth: str
    events: str
    token: str
    model: str


@dataclass
class Aggressor:
    """What scenarios are made of. Every answer is counted by its status; none is raised."""

    where: Where
    http: aiohttp.ClientSession
    answers: Counter[str] = field(default_factory=Counter)
    numbers: Iterator[int] = field(default_factory=itertools.count)
    backlog: list[str] = field(default_factory=list)  # ids of the rows that were there at the beginning

    def row(self, text: str = "", **columns: Any) -> Row:
        """An ordinary request, or one with that text."""
        mark = f"a-{os.getpid()}-{next(self.numbers)}"
        # All rows of an array need the same columns.
        length = {} if "target_ratio" in columns else {"target_words": WORDS}
        task = {"task": "summarize", "model": self.where.model, "text": text or story(SENTENCES, mark)}
        return task | length | columns

    def rows(self, count: int, **columns: Any) -> list[Row]:
        return [self.row(**columns) for _ in range(count)]

    async def insert(self, rows: Row | Sequence[Row]) -> list[str]:
        """Their ids; none if they were refused."""
        found = await self.rest("POST", "/requests?select=id", rows, Prefer="return=representation")
        return [row["id"] for row in found] if isinstance(found, list) else []

    async def prepare(self, count: int) -> None:
        """So many rows wait."""
        for _ in range(0, count, ARRAY):
            self.backlog += await self.insert(self.rows(min(ARRAY, count)))

    async def change(self, filters: str, columns: Row) -> None:
        await self.rest("PATCH", f"/requests?{filters}", columns, Prefer="return=minimal,max-affected=100000")

    async def delete(self, filters: str) -> None:
        await self.rest("DELETE", f"/requests?{filters}", Prefer="return=minimal,max-affected=100000")

    async def call(self, function: str, **arguments: Any) -> bool:
        """Whether it was done."""
        before = self.answers.total() - self.refused()
        await self.rest("POST", f"/rpc/{function}", arguments)
        return self.answers.total() - self.refused() > before

    async def read(self, path: str, *, anonymous: bool = False) -> Any:
        return await self.rest("GET", path, anonymous=anonymous)

    async def rest(
        self, method: str, path: str, body: Any = None, *, anonymous: bool = False, **headers: str
    ) -> Any:
        sent = headers if anonymous else {"Authorization": f"Bearer {self.where.token}"} | headers
        return await self.request(method, self.where.rest + path, body, sent)

    async def request(self, method: str, url: str, body: Any, headers: Mapping[str, str]) -> Any:
        try:
            async with self.http.request(method, url, json=body, headers=headers) as answer:
                self.answers[str(answer.status)] += 1
                content = await answer.read()
                if answer.status < 400:
                    return json.loads(content) if content else None
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
        await asyncio.sleep(PAUSE_SECONDS)
        return None

    def refused(self) -> int:
        return sum(count for status, count in self.answers.items() if not status.startswith("2"))

    async def together(self, count: int, do: Callable[[], Awaitable[object]], *, times: int = 10**9) -> None:
        """So many at once, each again and again."""

        async def again() -> None:
            for _ in range(times):
                await do()

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(again())

    async def log_in(self) -> None:
        """With a wrong password, from an address of one's own each time."""
        address = ":".join(secrets.token_hex(2) for _ in range(2))
        body = {"email": f"{secrets.token_hex(4)}@example.com", "password": secrets.token_hex(8)}
        headers = {"X-Forwarded-For": f"2001:db8:{address}::1"}
        await self.request("POST", f"{self.where.auth}/auth/login", body, headers)

    async def watch(self) -> None:
        """An event stream, read to its end."""
        headers = {"Authorization": f"Bearer {self.where.token}"}
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            url = f"{self.where.events}/events"
            async with self.http.get(url, headers=headers, timeout=timeout) as answer:
                self.answers[str(answer.status)] += 1
                async for _ in answer.content:
                    pass
        except aiohttp.ClientError as error:
            self.answers[type(error).__name__] += 1
        await asyncio.sleep(PAUSE_SECONDS)


async def main(name: str) -> None:
    from tests.neighbour.scenarios import SCENARIOS  # which knows this module

    where = Where(**json.loads(sys.stdin.readline()))
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
        a = Aggressor(where, http)
        await a.prepare(SCENARIOS[name].backlog)
        doing = asyncio.ensure_future(SCENARIOS[name].do(a))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, doing.cancel)
        print("began", flush=True)
        await asyncio.gather(doing, return_exceptions=True)
        if not doing.cancelled():
            doing.result()
    print(json.dumps(a.answers), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
