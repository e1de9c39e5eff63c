"""The HTTP interface of one model server: bounded JSON answers, and a chat as a stream of records.

Trusts nothing that comes over it, and follows no redirect: a text goes to the address that the operator has
entered, or nowhere.
"""

import email.utils
import json
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from listener.model.diagnosis import (
    IN_STREAM,
    RETRY_AFTER_CAP_SECONDS,
    AnswerError,
    OversizeError,
    UnreadableError,
)

CONNECT_SECONDS = 5.0
WRITE_SECONDS = 60.0
MOST_LISTED_BYTES = 512 * 1024  # of a listing: the worst of that takes 50 ms to parse
MOST_ERROR_BYTES = 64 * 1024
MOST_PORT = 2**16 - 1
RECORD_BYTES = 512  # what a record says beside its text, and is not charged for
HEADERS = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "precis"}


@dataclass(frozen=True, slots=True)
class Record:
    """A piece of an answer. `thought` is how many bytes of reasoning came with it. The counts are whatever
    number the server gave, 0 for none."""

    text: str
    thought: int = 0
    done: bool = False
    reason: str = ""
    prompt_tokens: int = 0
    output_tokens: int = 0


class Server:
    """One server. Its methods raise diagnosis.CLIENT_ERRORS."""

    def __init__(self, url: str) -> None:
        self._url = (url if "://" in url else f"http://{url}").rstrip("/")
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(connect=CONNECT_SECONDS, read=None, write=WRITE_SECONDS, pool=None),
            limits=httpx.Limits(max_connections=None),  # slots are the limit
            headers=HEADERS,
            follow_redirects=False,
            trust_env=False,  # HTTP_PROXY would capture even loopback
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def fetch(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A JSON answer."""
        async with self._client.stream(method, self._at(path), json=body) as response:
            await _admit(response)
            return read_object(await _read(response, MOST_LISTED_BYTES))

    async def stream_chat(self, body: Mapping[str, Any], *, most_bytes: int) -> AsyncGenerator[Record, None]:
        """The records of a chat, which say no more than so many bytes, whatever the bytes are of. Nothing is
        sent before the first is asked for."""
        left = most_bytes
        async with self._client.stream("POST", self._at("/api/chat"), json=body) as response:
            await _admit(response)
            async with aclosing(split_lines(response.aiter_raw(), most_bytes=2 * most_bytes)) as lines:
                async for line in lines:
                    record = read_record(line) if line.strip() else None
                    left -= _charge(line, record)
                    if left < 0:
                        raise OversizeError(f"an answer of more than {most_bytes} bytes")
                    if record is not None:
                        yield record

    def _at(self, path: str) -> httpx.URL:
        url = httpx.URL(self._url + path)
        if url.port is not None and url.port > MOST_PORT:  # the socket would raise something of its own
            raise httpx.InvalidURL(f"there is no port {url.port}")
        return url


async def split_lines(chunks: AsyncIterator[bytes], *, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """Lines end at the byte \\n and nowhere else: inside a JSON string all other separators are text. Raises
    OversizeError."""
    rest = bytearray()
    async for chunk in chunks:
        begin = len(rest)
        rest += chunk
        while (end := rest.find(b"\n", begin)) >= 0:
            yield bytes(rest[:end])
            del rest[: end + 1]
            begin = 0
        if len(rest) > most_bytes:
            raise OversizeError(f"a line of more than {most_bytes} bytes")
    if rest:
        yield bytes(rest)


def read_record(line: bytes) -> Record:
    """Raises UnreadableError, and AnswerError for a record that tells of an error."""
    value = read_object(line)
    if error := value.get("error"):
        raise AnswerError(IN_STREAM, error)
    message, done, reason = value.get("message"), value.get("done", False), value.get("done_reason")
    if not isinstance(message, dict) or not isinstance(done, bool):
        raise UnreadableError(
            "a record of a chat without a message, or that does not say whether it is the last"
        )
    return Record(
        text=storable(_text(message, "content")),
        thought=len(storable(_text(message, "thinking")).encode()),
        done=done,
        reason=reason if isinstance(reason, str) else "",
        prompt_tokens=_count(value.get("prompt_eval_count")),
        output_tokens=_count(value.get("eval_count")),
    )


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8, with a byte order mark or without. Control characters in a text come as they
    are from some servers, though JSON wants them escaped. Raises UnreadableError."""
    try:
        value = json.loads(raw.decode("utf-8-sig"), strict=False)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"no JSON in UTF-8: {str(error)[:100]}") from error
    if not isinstance(value, dict):
        raise UnreadableError("no JSON object")
    return value


def read_retry_after(value: str, *, now: float) -> float | None:
    """Seconds from the header's number or date, none below 0, and no more than a server may ask for; None if
    it is neither (RFC 9110, 10.2.3)."""
    try:
        seconds = float(value) if value.strip().isdecimal() else _until(value) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return (
        min(max(0.0, seconds), RETRY_AFTER_CAP_SECONDS) if math.isfinite(seconds) else RETRY_AFTER_CAP_SECONDS
    )


def storable(text: str) -> str:
    """What Postgres can store of a text: no NUL, no lone surrogate."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


async def _admit(response: httpx.Response) -> None:
    """Raises AnswerError unless it is a success."""
    if response.is_success:
        return
    headers = response.headers
    said = await _read(response, MOST_ERROR_BYTES, whole=False)
    raise AnswerError(
        response.status_code,
        said.decode("utf-8", "replace"),
        location=headers.get("location", "an address that it does not tell") if response.is_redirect else "",
        retry_after_seconds=read_retry_after(headers.get("retry-after", ""), now=time.time()),
    )


async def _read(response: httpx.Response, most_bytes: int, *, whole: bool = True) -> bytes:
    """Raises OversizeError, or stops there if it need not be the whole."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most_bytes:
            if whole:
                raise OversizeError(f"it lists more than {most_bytes} bytes")
            break
    return bytes(body[:most_bytes])


def _charge(line: bytes, record: Record | None) -> int:
    """What a line takes of the bytes that an answer may have: its text and reasoning, or whatever else makes
    it long; something in any case, since an answer of nothing could go on for ever."""
    said = len(record.text.encode()) + record.thought if record is not None else 0
    return max(1, said, len(line) - RECORD_BYTES)


def _text(message: Mapping[str, Any], name: str) -> str:
    value = message.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnreadableError(f"a message whose {name} is no text")
    return value


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _until(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp()
