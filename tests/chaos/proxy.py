"""A network between a worker and Postgres that can fail: go dark, for all connections or for those of one
name, get slow, refuse, and break just when a write has gone through.

Knows the names of connections and the texts of statements, and no worker.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Literal

from tests.chaos.wire import Listener

CHUNK_BYTES = 64 * 1024

# What becomes of a write: it goes through; the connection breaks while Postgres works on it; the connection
# breaks when Postgres has answered, and so has committed for certain.
Fate = Literal["passes", "unknown", "committed"]


@dataclass(eq=False, slots=True)
class Link:
    """One connection through the proxy: two streams."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    said: Listener = field(default_factory=Listener)
    answer_is_lost: bool = False

    def cut(self) -> None:
        """Both ends see a reset, as of a router that has lost its state."""
        self.client.transport.abort()
        if self.server is not None:
            self.server.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Passes everything on, unless told otherwise by one of the `with`s. `struck` counts what it did."""

    upstream_port: int
    port: int = 0
    struck: int = 0
    _links: set[Link] = field(default_factory=set)
    _dark: Callable[[Link], bool] | None = None
    _delay_seconds: float = 0.0
    _refusing: bool = False
    _torn: str | None = None
    _fate: Callable[[], Fate] = field(default=lambda: "passes")
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def dark(self, name: str | None = None) -> Iterator[None]:
        """No byte passes, nobody is told: of all connections, or of those whose name ends so. What waits
        passes at the end, as TCP would have it."""
        self._dark = (lambda _link: True) if name is None else (lambda link: _is_called(link, name))
        self.struck += sum(map(self._dark, self._links))
        try:
            yield
        finally:
            self._dark = None
            self._stir()

    @contextmanager
    def slow(self, seconds: float) -> Iterator[None]:
        """Every piece of either direction takes so long."""
        self._delay_seconds = seconds
        try:
            yield
        finally:
            self._delay_seconds = 0.0

    @contextmanager
    def severed(self) -> Iterator[None]:
        """All connections are reset, new ones too."""
        self._refusing = True
        self.struck += len(self._links)
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    @contextmanager
    def torn(self, statement: str, fate: Callable[[], Fate]) -> Iterator[None]:
        """A statement with this text meets the fate that is drawn for it; its answer does not come through,
        unless it passes."""
        self._torn, self._fate = statement, fate
        try:
            yield
        finally:
            self._torn = None

    def cut(self) -> None:
        """Resets all connections."""
        for link in list(self._links):
            link.cut()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        link = Link(writer)
        self._links.add(link)
        try:
            with contextlib.suppress(OSError):
                await self._join(link, reader)
        finally:
            self._links.discard(link)
            link.cut()

    async def _join(self, link: Link, reader: asyncio.StreamReader) -> None:
        if self._refusing:
            return
        await self._pass(link)
        answers, link.server = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pump_up(link, reader), name="to the server")
            group.create_task(self._pump_down(link, answers), name="to the client")

    async def _pump_up(self, link: Link, reader: asyncio.StreamReader) -> None:
        assert link.server is not None
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                sent = link.said.feed(data)
                await self._pass(link)
                link.server.write(data)
                if self._torn is not None and any(self._torn in text for text in sent):
                    self._tear(link)
                await link.server.drain()
        link.cut()

    async def _pump_down(self, link: Link, answers: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await answers.read(CHUNK_BYTES):
                await self._pass(link)
                if link.answer_is_lost:
                    break
                link.client.write(data)
                await link.client.drain()
        link.cut()

    async def _pass(self, link: Link) -> None:
        """Until the bytes may go on."""
        if self._delay_seconds:
            self.struck += 1
            await asyncio.sleep(self._delay_seconds)
        while self._dark is not None and self._dark(link) and not link.client.transport.is_closing():
            await self._changed.wait()

    def _tear(self, link: Link) -> None:
        fate = self._fate()
        self.struck += fate != "passes"
        if fate == "committed":
            link.answer_is_lost = True
        elif fate == "unknown":
            link.cut()

    def _stir(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _is_called(link: Link, name: str) -> bool:
    return link.said.name is not None and link.said.name.endswith(name)


@asynccontextmanager
async def proxied(upstream_port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of the Postgres on that port of this machine."""
    proxy = Proxy(upstream_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
