"""Sessions: opening, refreshing, ending. One session is one family of refresh tokens.

Knows no password and signs nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, assert_never
from uuid import UUID

import structlog

from authsvc import audit
from authsvc.callers import Caller
from authsvc.database import Connection, borrowed, transaction
from authsvc.errors import RefreshTokenError, SessionEndedError, UnavailableError
from authsvc.limits import Limit, Limits
from authsvc.metrics import REFRESHES
from authsvc.refresh import RefreshToken, Seen, decode, encode, judge
from chassis.database import Pool

Scope = Literal["local", "others", "global"]

REFRESH_LIMIT = Limit("refresh", capacity=30, seconds=60)

OPEN = """
insert into private.session (account_id, expires_at, idle_expires_at, ip_prefix, user_agent)
values ($1, now() + $2, now() + $3, $4, $5) returning *
"""
# Makes room for one more: the least recently used live sessions go.
EVICT = """
update private.session set revoked_at = now(), revoke_reason = 'evicted' where id in (
  select s.id from private.session s join private.account a on a.id = s.account_id
   where s.account_id = $1 and private.session_fault(s, a.banned_at, a.password_changed_at) is null
   order by s.rotated_at desc offset $2 - 1)
returning id
"""
# One winner among parallel uses of a token: the others find another generation when they get the row's lock.
ROTATE = """
update private.session s
   set generation = generation + 1, rotated_at = clock_timestamp(), idle_expires_at = clock_timestamp() + $3
  from private.account a
 where s.id = $1 and s.generation = $2 and a.id = s.account_id
   and private.session_fault(s, a.banned_at, a.password_changed_at) is null
returning s.*
"""
LOOK = """
select s.*, extract(epoch from clock_timestamp() - s.rotated_at)::float8 as seconds_since_rotation,
       private.session_fault(s, a.banned_at, a.password_changed_at) as fault
  from private.session s join private.account a on a.id = s.account_id
 where s.id = $1
"""
REVOKE = """
update private.session set revoked_at = now(), revoke_reason = $2 where id = $1 and revoked_at is null
returning account_id
"""
# Only a live session speaks for the account: one that was ended must not be able to end others.
REVOKE_OTHERS = """
update private.session t set revoked_at = now(), revoke_reason = 'logout'
  from private.session s join private.account a on a.id = s.account_id
 where s.id = $1 and private.session_fault(s, a.banned_at, a.password_changed_at) is null
   and t.account_id = s.account_id and t.revoked_at is null and (t.id <> s.id or $2)
returning t.account_id
"""
PRUNE = """
delete from private.session where id in (
  select id from private.session
   where least(expires_at, idle_expires_at, revoked_at) < now() - interval '30 d' limit 10000)
"""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Session:
    """A live session, and when it ends if it is not used."""

    id: UUID
    account_id: UUID
    generation: int
    amr: tuple[str, ...]
    aal: int
    authenticated_at: datetime
    ends_at: datetime

    @classmethod
    def read(cls, row: Any) -> "Session":
        return cls(
            id=row["id"],
            account_id=row["account_id"],
            generation=row["generation"],
            amr=tuple(row["amr"]),
            aal=row["aal"],
            authenticated_at=row["authenticated_at"],
            ends_at=min(row["expires_at"], row["idle_expires_at"]),
        )


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long sessions last, how many an account may have, and how long a used refresh token is forgiven."""

    idle: timedelta
    absolute: timedelta
    grace_seconds: float
    per_account: int


class Sessions:
    """The sessions in the database, and the refresh tokens that belong to them."""

    def __init__(self, pool: Pool, limits: Limits, *, secret: bytes, lifetimes: Lifetimes) -> None:
        self._pool = pool
        self._limits = limits
        self._secret = secret
        self._lifetimes = lifetimes

    def refresh_token(self, session: Session) -> str:
        """The token that refreshes the session next."""
        return encode(RefreshToken(session.id, session.generation), self._secret)

    def decode(self, refresh_token: str) -> RefreshToken:
        """What a refresh token says. Raises RefreshTokenError unless it is ours."""
        return decode(refresh_token, self._secret)

    async def open(self, connection: Connection, account_id: UUID, caller: Caller) -> Session:
        """A new session, in the caller's transaction, which holds the account's row."""
        for evicted in await connection.fetch(EVICT, account_id, self._lifetimes.per_account):
            entry = audit.Entry("session_evicted", caller, account_id, evicted["id"])
            await audit.record(connection, entry)
        lifetimes = self._lifetimes
        row = await connection.fetchrow(
            OPEN, account_id, lifetimes.absolute, lifetimes.idle, caller.prefix, caller.user_agent
        )
        return Session.read(row)

    async def refresh(self, refresh_token: str, caller: Caller) -> Session:
        """The session, rotated. Raises RefreshTokenError, SessionEndedError, RateLimitedError."""
        token = self.decode(refresh_token)
        await self._limits.spend(REFRESH_LIMIT, str(token.session_id))
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(ROTATE, token.session_id, token.generation, self._lifetimes.idle)
            if row is None:
                return await self._settle(connection, token, caller)
        REFRESHES.labels("rotated").inc()
        return Session.read(row)

    async def end(self, session_id: UUID, scope: Scope, caller: Caller) -> None:
        """Log out this session, the account's others, or all. One that has ended already is no error."""
        async with transaction(self._pool) as connection:
            if scope == "local":
                account_id = await connection.fetchval(REVOKE, session_id, "logout")
            else:
                account_id = await connection.fetchval(REVOKE_OTHERS, session_id, scope == "global")
            if account_id is not None:
                entry = audit.Entry("logout", caller, account_id, session_id, detail=scope)
                await audit.record(connection, entry)

    async def prune(self) -> None:
        """Removes sessions that ended a month ago."""
        async with borrowed(self._pool) as connection:
            await connection.execute(PRUNE)

    async def _settle(self, connection: Connection, token: RefreshToken, caller: Caller) -> Session:
        """The answer to a genuine token that did not rotate its session."""
        row = await connection.fetchrow(LOOK, token.session_id)
        if row is None:
            raise RefreshTokenError
        seen = Seen(row["generation"], row["fault"], row["seconds_since_rotation"])
        verdict = judge(token, seen, grace_seconds=self._lifetimes.grace_seconds)
        REFRESHES.labels(verdict).inc()
        match verdict:
            case "repeat":
                return Session.read(row)
            case "revoked" | "expired":
                raise SessionEndedError(f"session_{verdict}")
            case "reused":
                await self._revoke_family(connection, row, caller)
                raise RefreshTokenError("refresh_token_reused")
            case "ahead":
                log.error("refresh.ahead", session_id=str(token.session_id), hint="Was a backup restored?")
                raise RefreshTokenError
            case "undecided":  # banned and back, or the like, between two statements
                raise UnavailableError
        assert_never(verdict)

    async def _revoke_family(self, connection: Connection, row: Any, caller: Caller) -> None:
        """Somebody uses a token that was replaced long ago: neither holder can be trusted."""
        log.warning("refresh.reused", session_id=str(row["id"]))
        async with connection.transaction():
            await connection.execute(REVOKE, row["id"], "refresh_reuse")
            entry = audit.Entry("refresh_reuse", caller, row["account_id"], row["id"])
            await audit.record(connection, entry)
