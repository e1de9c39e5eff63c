"""Connections to Postgres: one, or a pool, to the host that takes writes; and what its errors mean.

Knows no table and no statement but its own probes.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import asyncpg
import structlog
from asyncpg.pool import PoolAcquireContext

from chassis.backoff import Backoff
from chassis.errors import StartError

if TYPE_CHECKING:  # generic for the type checker only
    Connection: TypeAlias = asyncpg.Connection[Any]
    Pool: TypeAlias = asyncpg.Pool[Any]
    AcquireContext: TypeAlias = PoolAcquireContext[Any]
else:
    Connection, Pool, AcquireContext = asyncpg.Connection, asyncpg.Pool, PoolAcquireContext

T = TypeVar("T")

HOST_SECONDS = 2.0  # a host that has not answered by then is out of the race
SECOND_ANSWER_SECONDS = 0.1  # after the first writable host, so long for another with a newer timeline
CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 30.0  # a frozen server keeps TCP alive: only the client's own clock notices
ACQUIRE_SECONDS = 10.0
CLOSE_SECONDS = 5.0
PROBE_AFTER_IDLE_SECONDS = 0.005  # a busy connection is not worth the round trip

# Admin shutdown, crash shutdown, cannot connect now, idle session timeout, read only (a demoted primary), too
# many connections, a database that allows none; class 08 is matched by its prefix.
LOST_SQLSTATES = {"57P01", "57P02", "57P03", "57P05", "25006", "53300", "55000"}

DATABASE_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# At a start these are nothing to wait for. In a process that runs, they are: somebody is at work on it.
SETUP_FAULTS = {
    "28P01": "The database refuses the password. Give the right one in the database URL.",
    "28000": "The database does not let this role in. Look at the URL, pg_hba.conf and sql/roles.sql.",
    "3D000": "There is no such database. Look at the URL, or run `precis setup`.",
    "3F000": "The database has no schema of Precis. Run the migrations (`dbmate up`).",
    "42P01": "The database lacks a table. Run the migrations (`dbmate up`).",
    "42703": "The database lacks a column. Run the migrations (`dbmate up`).",
    "42883": "The database lacks a function. Run the migrations (`dbmate up`).",
    "42501": "This role may not do what the service does. Run sql/roles.sql and the migrations.",
    "42704": "The database lacks something. Run sql/roles.sql and the migrations.",
}
STARTING_BASE_SECONDS = 0.1
STARTING_CAP_SECONDS = 5.0
TOLD_MAX_CHARS = 200
OURS = ("42", "P0")  # a statement, or a function of the database, is wrong: nothing that passes

log = structlog.get_logger()


class NoPrimaryError(ConnectionError):
    """No host of a multi-host URL takes writes at the moment."""


async def connect(url: str, *, name: str, **options: Any) -> Connection:
    """One connection, shown in pg_stat_activity as `name`. Of several hosts the one not in recovery is taken.

    All hosts are asked at once, because asyncpg tries them in turn and never gets past one that hangs
    (github.com/MagicStack/asyncpg/issues/1155). Raises what asyncpg raises, or NoPrimaryError.
    """
    url, hosts = split_hosts(url)
    options = {"timeout": CONNECT_SECONDS, "command_timeout": COMMAND_SECONDS} | options
    options["server_settings"] = {"application_name": name, **(options.get("server_settings") or {})}
    if len(hosts) > 1:
        return await _Race(url, options | {"target_session_attrs": "any"}).run(hosts)
    return await asyncpg.connect(url, **options)


@asynccontextmanager
async def pool(url: str, *, name: str, size: int, waits: bool = False, **options: Any) -> AsyncIterator[Pool]:
    """A pool of up to `size` connections. One is opened at once, so that a wrong URL ends the start.

    Raises what asyncpg raises; a service `waits` for a database that is away, and gets a StartError.
    """

    async def opened(dsn: str, **given: Any) -> Connection:
        given.pop("loop", None)
        return await connect(dsn, name=name, **given)

    async def filled() -> _Pool:
        empty = _Pool(
            url,
            connect=cast(Any, opened),
            connection_class=_Connection,
            record_class=asyncpg.Record,
            loop=asyncio.get_running_loop(),
            init_size=1,
            min_size=0,
            max_size=size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            setup=_probe,
            reset=_reset,
            **options,
        )
        await empty
        return empty

    opening = await (patiently(filled) if waits else filled())
    try:
        yield opening
    finally:
        with suppress(TimeoutError):  # asyncpg then cuts what did not close
            async with asyncio.timeout(CLOSE_SECONDS):
                await opening.close()


def connection_lost(error: BaseException) -> bool:
    """Whether the connection, the server, or its being the primary is gone, so that reconnecting may help."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(connection_lost, error.exceptions))
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        return state.startswith("08") or state in LOST_SQLSTATES
    if isinstance(error, asyncpg.InterfaceError):
        return "closed" in str(error) or "closing" in str(error)
    return isinstance(error, OSError | asyncpg.InternalClientError)


def passing(error: BaseException) -> bool:
    """Whether a loop that runs should try again: any error of the database, or of the way to it.

    There is no list of those that pass: one that was not on it ended the process. A mistake of ours is none
    of these, and ends it. Raises CancelledError if this task is being cancelled: what a lost connection
    raises while it is left by a cancellation has taken that one's place.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error
    if isinstance(error, BaseExceptionGroup):
        return all(map(passing, error.exceptions))
    return isinstance(error, DATABASE_ERRORS)


async def patiently(action: Callable[[], Awaitable[T]]) -> T:
    """What `action` returns, tried again while the database is away or in trouble. For a process's start.

    Raises StartError for what only a person can mend: a wrong password or role, a schema that is not there.
    """
    delays = Backoff(base=STARTING_BASE_SECONDS, cap=STARTING_CAP_SECONDS)
    while True:
        try:
            return await action()
        except Exception as error:
            if fault := setup_fault(error):
                raise StartError(fault) from error
            if not passing(error):
                raise
            log.warning("database.awaited", error=told(error))
            await asyncio.sleep(delays.next())


def setup_fault(error: BaseException) -> str | None:
    """What a person must set right before this can work, None if it may work by itself."""
    if isinstance(error, asyncpg.ClientConfigurationError):
        return f"The database URL is wrong: {error}"
    sentence = SETUP_FAULTS.get(getattr(error, "sqlstate", None) or "")
    return sentence and f"{sentence} ({told(error)})"


def refused(error: BaseException) -> bool:
    """Whether it is the data that the database does not take: the same again gives the same."""
    return str(getattr(error, "sqlstate", None) or "").startswith(("22", "23"))


def troubled(error: BaseException) -> bool:
    """Whether who asked is to ask again: the database is away or in trouble, whatever it was asked."""
    state = str(getattr(error, "sqlstate", None) or "")
    return isinstance(error, DATABASE_ERRORS) and not refused(error) and not state.startswith(OURS)


def told(error: BaseException) -> str:
    """The error for the log: without the details that Postgres adds, and without a message about data, since
    both quote it."""
    state = getattr(error, "sqlstate", None)
    if state is None:
        return f"{type(error).__name__}: {error}"
    text = "" if refused(error) or not error.args else f": {str(error.args[0])[:TOLD_MAX_CHARS]}"
    return f"{type(error).__name__}{text} [{state}]"


def split_hosts(url: str) -> tuple[str, list[tuple[str, int]]]:
    """The URL without what only libpq understands, and its (host, port) pairs."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    query.pop("connect_timeout", None)
    in_netloc = parts.netloc.rpartition("@")[2]
    names = (in_netloc or query.get("host", "")).split(",")
    ports = query.get("port", "5432").split(",")
    ports = ports * len(names) if len(ports) == 1 else ports
    hosts = [_host(name, port) for name, port in zip(names, ports, strict=True)]
    return urlunsplit(parts._replace(query=urlencode(query))), hosts


def _host(text: str, port: str) -> tuple[str, int]:
    if text.startswith("["):
        name, _, given = text[1:].partition("]")
        return name, int(given.removeprefix(":") or port)
    name, _, given = text.partition(":")
    return unquote(name), int(given or port)


@dataclass(slots=True)
class _Race:
    """Asks all hosts at once. Each contestant has its own deadline, which the first winner brings closer."""

    url: str
    options: dict[str, Any]
    opened: list[Connection] = field(default_factory=list)
    timers: list[asyncio.Timeout] = field(default_factory=list)

    async def run(self, hosts: list[tuple[str, int]]) -> Connection:
        winner = None
        try:
            answers = await asyncio.gather(*(self._enter(*host) for host in hosts), return_exceptions=True)
            winner = await self._newest([a for a in answers if not isinstance(a, BaseException)])
        finally:
            for connection in self.opened:
                if connection is not winner:
                    connection.terminate()
        if winner is None:
            raise _verdict(hosts, [a for a in answers if isinstance(a, BaseException)])
        return winner

    async def _enter(self, host: str, port: int) -> Connection:
        async with asyncio.timeout(HOST_SECONDS) as timer:
            self.timers.append(timer)
            try:
                connection = await asyncpg.connect(self.url, host=host, port=port, **self.options)
                self.opened.append(connection)
                if await connection.fetchval("select pg_is_in_recovery()"):
                    raise NoPrimaryError("in recovery")
            finally:
                self.timers.remove(timer)
        self._hurry()
        return cast(Connection, connection)

    def _hurry(self) -> None:
        soon = asyncio.get_running_loop().time() + SECOND_ANSWER_SECONDS
        for timer in (running for running in self.timers if not running.expired()):
            timer.reschedule(min(soon, timer.when() or soon))

    async def _newest(self, primaries: list[Connection]) -> Connection | None:
        """After a failover the old primary may still answer: the higher timeline is the elected one."""
        if len(primaries) < 2:
            return primaries[0] if primaries else None
        timelines = [
            await primary.fetchval("select left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)")
            for primary in primaries
        ]
        return primaries[timelines.index(max(timelines))]


def _verdict(hosts: list[tuple[str, int]], errors: list[BaseException]) -> BaseException:
    """What to raise when nobody won; what no new try changes, such as a wrong password, comes first."""
    for error in errors:
        if not connection_lost(error):
            return error
    reasons = zip(hosts, errors, strict=True)
    told = (f"{host}:{port}: {str(error) or type(error).__name__}" for (host, port), error in reasons)
    return NoPrimaryError(f"no database host takes writes ({'; '.join(told)})")


class _Connection(Connection):
    """Remembers when it was last given back."""

    used_at: float | None = None


class _Pool(Pool):
    """asyncpg's pool replaces a connection it knows to be closed. This one also finds out first."""

    def acquire(self, *, timeout: float | None = None) -> "_Lease":
        return _Lease(self, timeout or ACQUIRE_SECONDS)

    # Overridden where all ways to acquire meet, private as it is: test_database holds asyncpg to it.
    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 (asyncpg's signature)
        try:
            return await super()._acquire(timeout)  # type: ignore[misc]
        except _StaleError:
            # One idle connection was dead, the others idle as long are suspects: replace them all.
            await self.expire_connections()
            return await super()._acquire(timeout)  # type: ignore[misc]


class _Lease(AcquireContext):
    async def __aexit__(self, *raised: object) -> None:
        if isinstance(raised[1], asyncpg.ReadOnlySQLTransactionError | TimeoutError):
            # The host was demoted, or hangs: the pool's other connections lead to the same one.
            await self.pool.expire_connections()
        await super().__aexit__(*raised)


class _StaleError(Exception):
    """A pooled connection did not answer its probe."""


async def _probe(connection: Any) -> None:
    idle_since = connection.used_at
    now = asyncio.get_running_loop().time()
    if idle_since is None or now - idle_since < PROBE_AFTER_IDLE_SECONDS:
        return
    try:
        await connection.execute("select 1", timeout=HOST_SECONDS)
    except Exception as error:
        if not connection_lost(error):
            raise
        connection.terminate()
        raise _StaleError from error


async def _reset(connection: Any) -> None:
    await connection.reset()
    connection.used_at = asyncio.get_running_loop().time()
