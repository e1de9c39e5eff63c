"""The demo account: made at the first start, kept in config.toml. Signing in with it proves the whole path,
from authsvc's key through the database to PostgREST."""

import asyncio
import secrets
import time

from precis.client.api import Account, Client
from precis.faults import RequestFailed
from precis.layout import Layout
from precis.setup import toml_file
from precis.stack import database

ACCEPT_SECONDS = 10.0
POLL_SECONDS = 0.1
UNAUTHORIZED, CONFLICT = 401, 409


async def sign_in(client: Client, layout: Layout, owner_url: str) -> None:
    """Signs the client in, registering the account where it is not there. Raises RequestFailed."""
    try:
        await client.sign_in()
    except RequestFailed as error:
        if error.status != UNAUTHORIZED:
            raise
        await _register(client, layout)
    await _be_accepted(client, owner_url)


async def _register(client: Client, layout: Layout) -> None:
    """Under another address if this one is taken: config.toml was lost, and the old password with it."""
    try:
        await client.sign_in("register")
    except RequestFailed as error:
        if error.status != CONFLICT:
            raise
        client.account = Account(f"demo-{secrets.token_hex(3)}@example.com", client.account.password)
        await client.sign_in("register")
        changed = toml_file.edited(
            layout.config.read_text(encoding="utf-8"), {("local", "demo_email"): client.account.email}
        )
        toml_file.write_private(layout.config, changed)


async def _be_accepted(client: Client, owner_url: str) -> None:
    """PostgREST may have started before authsvc had made its first key: then it is told to look again."""
    deadline = time.monotonic() + ACCEPT_SECONDS
    while True:
        try:
            await client.fetch({"00000000-0000-0000-0000-000000000000"})
            return
        except RequestFailed as error:
            if error.status != UNAUTHORIZED or time.monotonic() > deadline:
                raise
        async with await database.connect(owner_url) as connection:
            await connection.execute("notify pgrst, 'reload config'")
        await asyncio.sleep(POLL_SECONDS)
