"""Several `listener work` processes, each behind a network of its own or straight on Postgres, and what is
done to them: killed, frozen, started again. Remembers who was frozen when.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.chaos.proxy import Proxy, proxied
from tests.fix_stack import Stack, local, part
from tests.part import Part


@dataclass(frozen=True, slots=True)
class Frozen:
    """A process that was stopped by SIGSTOP from then to then."""

    pid: int
    since: float
    until: float


@dataclass(eq=False, slots=True)
class Worker:
    """One process after the other under one name."""

    part: Part
    proxy: Proxy | None
    frozen: list[Frozen] = field(default_factory=list)

    async def start(self) -> None:
        """From this thread: a process dies with the thread that started it."""
        self.part.start()
        await asyncio.to_thread(self.part.wait_ready)

    def kill(self) -> None:
        self.part.kill()

    @asynccontextmanager
    async def freezing(self) -> AsyncIterator[None]:
        since = time.time()
        self.part.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.part.send(signal.SIGCONT)
            self.frozen.append(Frozen(self.part.pid, since, time.time()))

    def finished(self) -> set[tuple[int, int]]:
        """The (job, epoch)s whose result was accepted, as its log tells."""
        done = (line for line in self.part.lines() if line.get("event") == "request.done")
        return {(line["job"], line["epoch"]) for line in done}

    def events(self) -> set[str]:
        """The names of all that its log tells of."""
        return {str(line.get("event")) for line in self.part.lines()}


@asynccontextmanager
async def crew(stack: Stack, *, straight: int, through_proxies: int) -> AsyncIterator[list[Worker]]:
    """So many workers, ready; stopped in order on the way out."""
    cluster = stack.database.cluster
    async with contextlib.AsyncExitStack() as open_things:
        proxies: list[Proxy | None] = [None] * straight
        for _ in range(through_proxies):
            proxies.append(await open_things.enter_async_context(proxied(cluster.port)))
        workers = [Worker(_process(stack, n, proxy), proxy) for n, proxy in enumerate(proxies)]
        try:
            for worker in workers:
                worker.part.start()
            for worker in workers:
                await asyncio.to_thread(worker.part.wait_ready)
            yield workers
        finally:
            await stop(workers)


async def stop(workers: list[Worker]) -> None:
    running = [worker.part for worker in workers if worker.part.process and worker.part.code is None]
    for process in running:
        process.ask_to_leave()
    for process in running:
        await asyncio.to_thread(process.wait)


def _process(stack: Stack, n: int, proxy: Proxy | None) -> Part:
    process = part(stack, "listener work")
    address = local()
    process.name, process.log = f"listener work {n}", stack.folder / f"work-{n}.log"
    process.health = f"http://{address}/readyz"
    environ = {**process.environ, "PRECIS_WORK_ADMIN_LISTEN": address}
    if proxy is not None:
        url = stack.database.url("listener").replace(f":{stack.database.cluster.port}/", f":{proxy.port}/")
        environ["PRECIS_WORK_DATABASE_URL"] = url
    process.environ = environ
    return process
