"""Password hashes: their format, and the few threads that make and compare them.

Knows no account. Every comparison costs one hash, whatever the stored text is like: time tells nothing.
"""

import asyncio
import base64
import os
import re
import threading
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import bcrypt
import structlog

from authsvc.errors import OverloadedError
from authsvc.keys.master import mac
from authsvc.metrics import HASH_SECONDS, HASHES_PENDING, HASHES_SHED

T = TypeVar("T")

BCRYPT_MAX_BYTES = 72
# bcrypt reads no more than 72 bytes. What is longer is put through a keyed hash first, and marked: an
# unmarked and unkeyed one would let an attacker try hashes stolen elsewhere in place of passwords.
LONG_MARK = "p1$"
LONG_KEY = b"precis long password 1"
STORED = re.compile(r"(p1\$)?(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53})")
# A hash in the row must not be able to keep a thread for minutes.
MAX_STORED_COST = 14

MAX_WAIT_SECONDS = 2.0
MAX_TAKEN_PER_THREAD = 8
NICENESS = 10

log = structlog.get_logger()


def available_cpus() -> int:
    """The processors this process may use: its affinity and its cgroup's quota, at least one."""
    affinity = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, min(affinity, int(quota) // int(period)))
    except (OSError, ValueError):
        return affinity


class Hasher:
    """A few threads that hash, and the places of those who wait for one. Too long a wait is refused."""

    def __init__(self, *, threads: int, cost: int) -> None:
        self._cost = cost
        self._threads = threads or available_cpus()
        self._taken = 0
        self._seconds = 0.0
        self._dummy = ""
        self._executor = ThreadPoolExecutor(self._threads, "bcrypt", initializer=_step_back)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Hasher"]:
        """Makes the dummy hash that unknown accounts are compared with; at the end waits for what runs."""
        try:
            with self.place() as place:
                self._dummy = await place.make("\0")  # no password holds a NUL
            yield self
        finally:
            await asyncio.to_thread(self._executor.shutdown, cancel_futures=True)

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place for one hash, to be taken before any other work for it is done. Raises OverloadedError."""
        wait = self._taken / self._threads * self._seconds
        if wait > MAX_WAIT_SECONDS or self._taken >= MAX_TAKEN_PER_THREAD * self._threads:
            HASHES_SHED.inc()
            raise OverloadedError(wait)
        self._count(1)
        place = Place(self)
        try:
            yield place
        finally:
            if not place.is_used:
                self._count(-1)

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash should be made anew, now that the password is at hand."""
        found = STORED.fullmatch(stored)
        return found is None or int(found[3]) != self._cost or not found[2].startswith("$2b$")

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        loop = asyncio.get_running_loop()
        future = self._executor.submit(_timed, work, *arguments)
        # Given back by the thread's end, not by the request's: a client that hangs up frees no processor.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._count, -1))
        result, seconds = await asyncio.wrap_future(future)
        HASH_SECONDS.observe(seconds)
        self._seconds = 0.8 * self._seconds + 0.2 * seconds if self._seconds else seconds
        return result

    def _count(self, change: int) -> None:
        self._taken += change
        HASHES_PENDING.inc(change)


class Place:
    """Good for one of its methods, once."""

    def __init__(self, hasher: Hasher) -> None:
        self._hasher = hasher
        self.is_used = False

    async def make(self, password: str) -> str:
        """A hash of the current cost."""
        self.is_used = True
        return await self._hasher._run(_make, password, self._hasher._cost)

    async def matches(self, password: str, stored: str | None) -> bool:
        """Whether the hash is of this password; without a hash it takes as long."""
        self.is_used = True
        dummy = self._hasher._dummy
        found = STORED.fullmatch(stored or dummy)
        if found is None or int(found[3]) > MAX_STORED_COST:
            log.error("hash.unusable", hint="A stored password hash is malformed or too expensive.")
            found = None
        comparable = found is not None and stored is not None and bool(found[1]) == _is_long(password)
        against = found[2] if found is not None and comparable else dummy
        return await self._hasher._run(_matches, password, against) and comparable


def _make(password: str, cost: int) -> str:
    mark = LONG_MARK if _is_long(password) else ""
    return mark + bcrypt.hashpw(_prepared(password), bcrypt.gensalt(cost)).decode("ascii")


def _matches(password: str, stored: str) -> bool:
    try:
        return bcrypt.checkpw(_prepared(password), stored.encode("ascii"))
    except ValueError:
        return False


def _prepared(password: str) -> bytes:
    """The at most 72 bytes that bcrypt is given."""
    raw = _normal(password)
    return base64.b64encode(mac(LONG_KEY, raw)) if len(raw) > BCRYPT_MAX_BYTES else raw


def _is_long(password: str) -> bool:
    return len(_normal(password)) > BCRYPT_MAX_BYTES


def _normal(password: str) -> bytes:
    # The same letter may arrive composed or decomposed, depending on the keyboard.
    return unicodedata.normalize("NFC", password).encode("utf-8")


def _timed(work: Callable[..., T], *arguments: object) -> tuple[T, float]:
    began = time.perf_counter()
    return work(*arguments), time.perf_counter() - began


def _step_back() -> None:
    """Let the event loop's thread go first where processors are short (Linux: niceness is a thread's own)."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
