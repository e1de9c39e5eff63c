"""A way to Postgres on which every statement is answered, and notices get lost once it is told so."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.fix_postgres import Database

HEADER = struct.Struct("!cI")
NOTIFICATION = b"A"
CHUNK_BYTES = 64 * 1024


@dataclass
class DeafProxy:
    """`url` leads through it. `swallows` notices from when that is set; `swallowed` counts them."""

    upstream_port: int
    url: str = ""
    swallows: bool = False
    swallowed: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self.upstream_port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async with asyncio.TaskGroup() as group:
                down = group.create_task(self._pass_answers(answers, writer))
                while data := await reader.read(CHUNK_BYTES):
                    server.write(data)
                down.cancel()
        server.close()
        writer.close()

    async def _pass_answers(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await answers.readexactly(HEADER.size)
                kind, length = HEADER.unpack(head)
                body = await answers.readexactly(length - 4)
                if self.swallows and kind == NOTIFICATION:
                    self.swallowed += 1
                else:
                    writer.write(head + body)


@contextlib.asynccontextmanager
async def deaf_proxy(database: Database, role: str) -> AsyncIterator[DeafProxy]:
    """A proxy in front of that database."""
    proxy = DeafProxy(database.cluster.port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    proxy.url = f"postgresql://{role}@127.0.0.1:{port}/{database.name}?sslmode=disable"
    async with server:
        yield proxy
