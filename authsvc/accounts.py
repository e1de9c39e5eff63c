"""Registering and logging in: from an address and a password to a session.

Knows no HTTP and signs nothing. The order of checks is the same whether an account exists or not, and no
database connection is held while a password is hashed.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from authsvc import audit
from authsvc.addresses import Address, parse
from authsvc.callers import Caller
from authsvc.database import borrowed, transaction
from authsvc.errors import (
    AccountBannedError,
    EmailTakenError,
    InvalidCredentialsError,
    OverloadedError,
)
from authsvc.hashing import Hasher
from authsvc.keys.master import mac
from authsvc.limits import Limit, Limits
from authsvc.metrics import LOGINS, REGISTRATIONS
from authsvc.passwords import require_acceptable, require_text
from authsvc.sessions import Session, Sessions
from chassis.database import Pool

FIND = """
select id, password_hash, password_changed_at, banned_at is not null as is_banned
  from private.account where email_key = $1
"""
CREATE = """
insert into private.account (email, email_key, password_hash, password_changed_at) values ($1, $2, $3, now())
on conflict (email_key) do nothing returning id
"""
# The session must not outlive what happened to the account while the password was compared.
HOLD = """
select true from private.account
 where id = $1 and password_changed_at is not distinct from $2 and banned_at is null for no key update
"""
REPLACE_HASH = "update private.account set password_hash = $3 where id = $1 and password_hash = $2"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Policy:
    """What this installation allows."""

    password_min_length: int
    logins_per_minute: Limit
    logins_per_hour: Limit
    registrations: Limit


@dataclass(frozen=True, slots=True)
class Account:
    """The row of an account that has a password."""

    id: UUID
    password_hash: str
    password_changed_at: datetime | None
    is_banned: bool


class Accounts:
    """The accounts in the database. `later` runs what needs not delay an answer."""

    def __init__(
        self,
        pool: Pool,
        sessions: Sessions,
        *,
        hasher: Hasher,
        limits: Limits,
        policy: Policy,
        audit_key: bytes,
        later: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._pool = pool
        self._sessions = sessions
        self._hasher = hasher
        self._limits = limits
        self._policy = policy
        self._audit_key = audit_key
        self._later = later

    async def register(self, email: str, password: str, caller: Caller) -> Session:
        """A new account and its first session. Raises the errors of errors.py."""
        address = parse(email)
        require_acceptable(password, address, min_length=self._policy.password_min_length)
        with self._hasher.place() as place:
            await self._limits.spend(self._policy.registrations, caller.prefix)
            # Before the insert, so that both outcomes take as long.
            hashed = await place.make(password)
        async with transaction(self._pool) as connection:
            account_id = await connection.fetchval(CREATE, address.typed, address.key, hashed)
            if account_id is None:
                REGISTRATIONS.labels("email_taken").inc()
                raise EmailTakenError
            session = await self._sessions.open(connection, account_id, caller)
            await audit.record(connection, audit.Entry("register", caller, account_id, session.id))
        REGISTRATIONS.labels("created").inc()
        return session

    async def log_in(self, email: str, password: str, caller: Caller) -> Session:
        """A new session of an account. Raises the errors of errors.py."""
        address = parse(email)
        require_text(password)
        with self._hasher.place() as place:
            await self._spend_limits(address, caller)
            account = await self._find(address)
            is_password = await place.matches(password, account.password_hash if account else None)
        if account is None or not is_password:
            await self._record_failure(account, caller, address)
            raise InvalidCredentialsError
        await self._limits.forget_failures(address.key)
        if account.is_banned:
            LOGINS.labels("banned").inc()
            raise AccountBannedError
        session = await self._open(account, caller)
        if self._hasher.is_outdated(account.password_hash):
            self._later(self._rehash(account, password))
        LOGINS.labels("ok").inc()
        return session

    async def _spend_limits(self, address: Address, caller: Caller) -> None:
        """The cheap ones first: a network's, then the account's, which counts a failure beforehand."""
        await self._limits.spend(self._policy.logins_per_minute, caller.prefix)
        await self._limits.spend(self._policy.logins_per_hour, caller.prefix)
        await self._limits.count_failure(address.key)

    async def _find(self, address: Address) -> Account | None:
        async with borrowed(self._pool) as connection:
            row = await connection.fetchrow(FIND, address.key)
        return Account(**row) if row and row["password_hash"] else None

    async def _open(self, account: Account, caller: Caller) -> Session:
        async with transaction(self._pool) as connection:
            if not await connection.fetchval(HOLD, account.id, account.password_changed_at):
                raise InvalidCredentialsError
            session = await self._sessions.open(connection, account.id, caller)
            await audit.record(connection, audit.Entry("login", caller, account.id, session.id))
        return session

    async def _record_failure(self, account: Account | None, caller: Caller, address: Address) -> None:
        LOGINS.labels("failed").inc()
        hashed = mac(self._audit_key, address.key.encode()).hex()
        entry = audit.Entry("login_failed", caller, account.id if account else None, detail=f"email:{hashed}")
        async with borrowed(self._pool) as connection:
            await audit.record(connection, entry)

    async def _rehash(self, account: Account, password: str) -> None:
        """Make the hash anew with today's cost; if not now, then at the next log-in."""
        try:
            with self._hasher.place() as place:
                hashed = await place.make(password)
            async with borrowed(self._pool) as connection:
                await connection.execute(REPLACE_HASH, account.id, account.password_hash, hashed)
        except OverloadedError:
            return
        except Exception as error:  # the edge of a task, and the person is logged in already
            log.warning("accounts.rehash_failed", account_id=str(account.id), exc_info=error)
