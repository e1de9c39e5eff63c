"""What an operator asks of authsvc on the command line, besides serving.

Knows the database directly, and no running process: those notice by themselves.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from authsvc import audit
from authsvc.addresses import parse
from authsvc.database import borrowed
from authsvc.keys.master import MasterKey
from authsvc.keys.ring import PUBLISHED_BEFORE_USE_SECONDS, KeyRing
from authsvc.limits import Limits
from authsvc.settings import Settings
from chassis.database import Pool, pool


async def rotate_keys(settings: Settings) -> str:
    """Publish a new signing key; the running service signs with it when every verifier has it."""
    secret = MasterKey.parse(settings.master_key).derive("sign-wrap")
    ring = KeyRing(secret=secret, token_seconds=settings.access_token_seconds)
    async with _database(settings) as database, borrowed(database) as connection:
        kid = await ring.request_rotation(connection)
        await audit.record(connection, audit.Entry("signing_key_requested", detail=kid))
    return (
        f"Key {kid} is published and signs in {PUBLISHED_BEFORE_USE_SECONDS:.0f} s, if authsvc runs. "
        "The old one stays valid until its last token has expired."
    )


async def unblock(settings: Settings, email: str) -> str:
    """Lift the block that a hundred failures in a row put on an address."""
    address = parse(email)
    secret = MasterKey.parse(settings.master_key).derive("rate-limit-hmac")
    async with _database(settings) as database:
        await Limits(database, secret).forget_failures(address.key)
        async with borrowed(database) as connection:
            await audit.record(connection, audit.Entry("sign_in_unblocked"))
    return f"{address.key} may sign in again."


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Pool]:
    async with pool(settings.database_url, name="authsvc command", size=1) as database:
        yield database
