"""The append-only record of what happened to accounts and sessions.

Knows no secret, and an address only as a keyed hash.
"""

from dataclasses import dataclass
from typing import Literal
from uuid import UUID

import structlog

from authsvc.callers import Caller
from authsvc.database import Connection

Event = Literal[
    "register",
    "login",
    "login_failed",
    "refresh_reuse",
    "logout",
    "session_evicted",
    "sign_in_unblocked",
    "signing_key_requested",
]

RECORD = """
insert into private.audit (event, account_id, session_id, ip_prefix, request_id, detail)
values ($1, $2, $3, $4, $5, $6)
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record; the request's id is added when it is written."""

    event: Event
    caller: Caller | None = None
    account_id: UUID | None = None
    session_id: UUID | None = None
    detail: str | None = None


async def record(connection: Connection, entry: Entry) -> None:
    """Write one line, in the caller's transaction if there is one."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    prefix = entry.caller.prefix if entry.caller else None
    await connection.execute(
        RECORD, entry.event, entry.account_id, entry.session_id, prefix, request_id, entry.detail
    )
