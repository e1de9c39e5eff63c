"""Single-use tickets that open a stream where no header can be sent: a browser's native EventSource.

A ticket stands for the claims of the token it was bought with. The table holds its hash only.
"""

import hashlib
import json
import secrets
from typing import Any, Final
from uuid import UUID

from chassis.bearer import Claims
from chassis.database import Pool

TICKET_SECONDS: Final = 30
TICKET_BYTES: Final = 32

ISSUE: Final = """
insert into private.event_ticket (hash, claims, expires_at)
values ($1, $2::text::jsonb, now() + make_interval(secs => $3))
"""
READ: Final = "select claims::text from private.event_ticket where hash = $1 and expires_at > now()"
TAKE: Final = "delete from private.event_ticket where hash = $1 and expires_at > now() returning true"
PRUNE: Final = "delete from private.event_ticket where expires_at <= now()"


async def issue(pool: Pool, claims: Claims) -> str:
    """A ticket for the bearer of `claims`."""
    ticket = secrets.token_urlsafe(TICKET_BYTES)
    await pool.execute(ISSUE, _hash(ticket), json.dumps(claims.raw), TICKET_SECONDS)
    return ticket


async def read(pool: Pool, ticket: str) -> Claims | None:
    """Whom a ticket that may still be used stands for. It stays good: see `take`."""
    claims = await pool.fetchval(READ, _hash(ticket))
    return None if claims is None else _claims(json.loads(claims))


async def take(pool: Pool, ticket: str) -> bool:
    """Use the ticket up. Of several who try at once one succeeds."""
    return bool(await pool.fetchval(TAKE, _hash(ticket)))


async def prune(pool: Pool) -> None:
    await pool.execute(PRUNE)


def _hash(ticket: str) -> bytes:
    return hashlib.sha256(ticket.encode("utf-8", "surrogatepass")).digest()


def _claims(raw: dict[str, Any]) -> Claims:
    return Claims(UUID(raw["sub"]), UUID(raw["sid"]), raw["exp"], raw["role"], raw)
