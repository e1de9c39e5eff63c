"""Watches requests until they end: by the event stream, and by asking where no stream is to be had."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp

from precis.client.api import Client, Row

SILENCE_SECONDS = 45.0  # three heartbeats
POLL_SECONDS = 0.5
OPEN_SECONDS = 5.0
LINE_BYTES = 1 << 20  # an event is at most 256 KiB
FINAL = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Changed:
    row: Row


@dataclass(frozen=True, slots=True)
class Writing:
    request_id: str
    text: str  # all of it so far


@dataclass(slots=True)
class _Text:
    epoch: int = -1
    text: str = ""

    def add(self, piece: Row) -> str:
        """A new epoch is a new attempt: it starts from nothing."""
        if piece["epoch"] != self.epoch:
            self.epoch, self.text = piece["epoch"], ""
        self.text = self.text[: piece["from"]] + piece["text"]
        return self.text


@dataclass(slots=True)
class Follower:
    """Open the stream before inserting, so that nothing is missed in between."""

    client: Client
    _stream: aiohttp.ClientResponse | None = None
    _texts: dict[str, _Text] = field(default_factory=dict)
    _seen: dict[str, datetime] = field(default_factory=dict)

    async def open(self) -> None:
        """Opens the stream, or leaves it be: asking works as well."""
        self.close()
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPEN_SECONDS, sock_read=SILENCE_SECONDS)
        headers = {**await self.client.authorization(), "Accept": "text/event-stream"}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            answer = await self.client.session.get(
                f"{self.client.addresses.events}/events",
                headers=headers,
                timeout=timeout,
                read_bufsize=LINE_BYTES,
            )
            if answer.status == 200:
                self._stream = answer
            else:
                answer.close()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    async def updates(self, ids: set[str]) -> AsyncIterator[Changed | Writing]:
        """What happens to these requests, until all have ended."""
        pending = set(ids)
        while pending:
            async for update in self._ask(pending):  # after each opening: what came before it
                yield update
            while pending and self._stream is not None:
                async for update in self._listen(pending):
                    yield update
            if pending:
                await asyncio.sleep(POLL_SECONDS)
                await self.open()

    async def _ask(self, pending: set[str]) -> AsyncIterator[Changed | Writing]:
        rows = await self.client.fetch(pending)
        pending &= {row["id"] for row in rows}  # another one was deleted
        for row in rows:
            if self._is_news(row, pending):
                yield Changed(row)
        if pending and self._stream is None:
            for piece in await self.client.partials(pending):
                yield Writing(piece["request_id"], piece["text"])

    async def _listen(self, pending: set[str]) -> AsyncIterator[Changed | Writing]:
        """Ends when all requests have, or the stream does."""
        assert self._stream is not None
        try:
            async for event, data in messages(self._stream.content):
                if event == "change" and data.get("id") in pending:
                    for row in await self._whole(data):
                        if self._is_news(row, pending):
                            yield Changed(row)
                elif event == "partial" and data.get("id") in pending:
                    yield Writing(data["id"], self._texts.setdefault(data["id"], _Text()).add(data))
                elif event == "tombstone" and data.get("id") in pending:
                    pending.discard(data["id"])
                elif event in ("reset", "bye", "token"):
                    break
                if not pending:
                    return
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass
        self.close()

    async def _whole(self, change: Row) -> list[Row]:
        """The row of a change; one too long for an event comes without its result, and is asked for."""
        if change.get("row") and not change.get("truncated"):
            return [change["row"]]
        return await self.client.fetch({change["id"]})

    def _is_news(self, row: Row, pending: set[str]) -> bool:
        """Events and answers cross each other: what is older than the last thing seen is not told again."""
        if row["state"] in FINAL:
            pending.discard(row["id"])
        at = datetime.fromisoformat(row["updated_at"])
        if at < self._seen.get(row["id"], at):
            return False
        self._seen[row["id"]] = at
        return True


async def messages(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Server-sent events with JSON data. Comments, ids and empty data are passed over."""
    event, data = "message", ""
    async for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield event, json.loads(data)
            event, data = "message", ""
        elif line.startswith("event:"):
            event = line[6:].strip()
        elif line.startswith("data:"):
            data += line[5:].strip()
