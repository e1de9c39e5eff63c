"""The database that `precis queue` works on: which one it is, one connection to it, and what its refusals
mean. Knows no table."""

import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict

from chassis.settings import key
from precis.faults import BadConfiguration, BadUsage, Fault, NotRunning, RequestFailed
from precis.layout import Layout
from precis.setup.settings import load

Connection: TypeAlias = "psycopg.AsyncConnection[Any]"

NAME = "precis queue"  # in pg_stat_activity
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 20
VARIABLE = "DATABASE_URL"
UNREACHABLE = f"Start it, for example with `make up`, or name another in {VARIABLE}."
SET_TIMEOUT = "select set_config('statement_timeout', %s, false)"
DOTENV_LINE = re.compile(rf"^\s*(?:export\s+)?{VARIABLE}\s*[=:]\s*(['\"]?)(?P<url>\S+?)\1\s*$", re.MULTILINE)
DBMATE_ONLY = frozenset({"search_path"})  # in dbmate's URLs, unknown to libpq
NOT_OURS = frozenset({"3F000", "42P01", "42703", "42883"})  # schema, table, column, function not there
BUSY = frozenset({"40001", "40P01", "55P03"})  # serialization, deadlock, lock not available
GONE = frozenset({"57P01", "57P02", "57P03", "25006"})  # shut down, crashed, starting up, read only


@dataclass(frozen=True, slots=True)
class OwnerSettings:
    """Where a stack of this machine notes its database; empty on a server that has none."""

    owner_url: str = key("local.owner_url", secret=True)


def find(given: str | None, layout: Layout, environ: Mapping[str, str] = os.environ) -> str:
    """The database's URL: the one given, the environment's, config.toml's, or the one in dbmate's .env beside
    config.toml or here. Raises BadConfiguration if there is none."""
    url = given or environ.get(VARIABLE) or load(OwnerSettings, layout).owner_url
    found = url or _from_dotenv(layout.dotenv) or _from_dotenv(Path(".env"))
    if not found:
        raise BadConfiguration(
            "no_database",
            f"No database is known here. Set {VARIABLE} to its address as precis_owner, or start a stack with"
            " `make up`.",
        )
    return _for_libpq(found)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """One connection, whose errors are told as faults; of several hosts to the one that takes writes."""
    where = place(url)
    options: dict[str, Any] = {"application_name": NAME, "connect_timeout": CONNECT_SECONDS}
    if "target_session_attrs" not in url:
        options["target_session_attrs"] = "read-write"
    try:
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, prepare_threshold=None, **options
        )
    except psycopg.OperationalError as error:
        raise NotRunning("database_unreachable", f"{where}: {_reason(error)} {UNREACHABLE}") from error
    async with connection:
        with explained(where):
            await connection.execute(SET_TIMEOUT, [f"{STATEMENT_SECONDS}s"])
            yield connection


def place(url: str) -> str:
    """Database, hosts and ports for people, without the password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise BadUsage(
            "bad_database_url", "The database's address must look like postgresql://precis_owner@host/precis."
        ) from error
    hosts, ports = (str(parts.get(name, "")).split(",") for name in ("host", "port"))
    pairs = zip_longest(hosts, ports[: len(hosts)], fillvalue=ports[-1])
    servers = (f"{host}:{port}" if port and not host.startswith("/") else host for host, port in pairs)
    return f"Database {parts.get('dbname', '')} at {', '.join(servers)}"


@contextlib.contextmanager
def explained(where: str) -> Iterator[None]:
    """Errors of the database inside as faults with a code and a sentence."""
    try:
        yield
    except psycopg.Error as error:
        raise _fault(error, where) from error


def _fault(error: psycopg.Error, where: str) -> Fault:
    state = error.sqlstate or ""
    if state == "PGRST":
        refusal = json.loads(error.diag.message_primary or "{}")
        return RequestFailed(str(refusal["code"]), str(refusal["message"]))
    if state in GONE or state[:2] == "08" or (not state and isinstance(error, psycopg.OperationalError)):
        return NotRunning("connection_lost", f"{where} has gone: {_reason(error)} Try again.")
    if state in NOT_OURS:
        return Fault("not_migrated", f"{where} has no queue of this release. Migrate it with `dbmate up`.")
    if state == "42501":
        return Fault("not_permitted", f"{where} does not let this role do that. Connect as precis_owner.")
    if state in BUSY:
        return Fault("busy", "Somebody else is changing the same rows. Try again.")
    if state == "57014":
        return Fault("too_slow", f"The database took more than {STATEMENT_SECONDS} s. Ask for less at once.")
    return Fault("database_error", f"{where} refuses: {_reason(error)} [{state}]")


def _reason(error: psycopg.Error) -> str:
    """The last thing that Postgres or libpq says, on one line."""
    text = str(error).rpartition("FATAL:")[2].strip() or type(error).__name__
    line = text.splitlines()[0].rpartition(" failed: ")[2]
    return line if line.endswith(".") else f"{line}."


def _from_dotenv(path: Path) -> str:
    try:
        match = DOTENV_LINE.search(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return match["url"] if match else ""


def _for_libpq(url: str) -> str:
    """dbmate's URLs name a socket's folder in a way of their own."""
    parts = urlsplit(url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = [("host" if name == "socket" else name, value) for name, value in given if name not in DBMATE_ONLY]
    return url if kept == given else urlunsplit(parts._replace(query=urlencode(kept)))
