"""The life of signing keys."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from authsvc.keys.ring import Activate, Create, Forget, KeyRing, StoredKey, make_jwk, plan, publish_issuer
from chassis.database import Connection, connect
from chassis.errors import StartError
from tests.fix_postgres import Database

SECRET = bytes(range(32))
TOKEN_SECONDS = 600


def stored(kid: str, state: str, *, age: float = 0, retired_for: float | None = None) -> StoredKey:
    return StoredKey(kid, "{}", b"", state, age, retired_for)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "steps"),
    [
        ([], [Create()]),
        ([stored("a", "active")], []),
        ([stored("a", "active"), stored("n", "next", age=89)], []),
        ([stored("a", "active"), stored("n", "next", age=90)], [Activate("n")]),
        ([stored("a", "active"), stored("m", "next", age=90), stored("n", "next", age=200)], [Activate("n")]),
        ([stored("n", "next", age=10)], [Create()]),
        ([stored("n", "next", age=100)], [Activate("n")]),
        ([stored("a", "active"), stored("r", "retiring", retired_for=719)], []),
        ([stored("a", "active"), stored("r", "retiring", retired_for=721)], [Forget("r")]),
    ],
)
def test_what_becomes_due(keys: list[StoredKey], steps: list[object]) -> None:
    assert list(plan(keys, token_seconds=TOKEN_SECONDS, is_loaded=lambda _: True)) == steps


def test_a_key_that_postgrest_has_not_taken_does_not_sign() -> None:
    keys = [stored("a", "active"), stored("n", "next", age=1000)]
    assert list(plan(keys, token_seconds=TOKEN_SECONDS, is_loaded=lambda _: False)) == []


def test_the_kid_is_the_thumbprint_of_rfc_8037() -> None:
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    jwk = make_jwk(Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(x + "=")))
    assert jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    assert jwk == {"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA", "use": "sig", "kid": jwk["kid"]}


@pytest.fixture
async def connection(database: Database) -> AsyncIterator[Connection]:
    opened = await connect(database.url("authsvc"), name="test")
    yield opened
    await opened.close()


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing(secret=SECRET, token_seconds=TOKEN_SECONDS)


@pytest.fixture
def pass_seconds(database: Database) -> Callable[[int], None]:
    def shift(seconds: int) -> None:
        with database.connect() as admin:
            admin.execute(
                "update private.signing_key set created_at = created_at - %(s)s * interval '1 s',"
                " retired_at = retired_at - %(s)s * interval '1 s'",
                {"s": seconds},
            )

    return shift


@pytest.mark.services
async def test_two_first_starts_at_once_make_one_key(database: Database) -> None:
    async def start() -> str:
        connection = await connect(database.url("authsvc"), name="test")
        keys = await KeyRing(secret=SECRET, token_seconds=TOKEN_SECONDS).look(connection)
        await connection.close()
        return keys.active.kid

    assert len(set(await asyncio.gather(*(start() for _ in range(8))))) == 1


@pytest.mark.services
async def test_a_rotation_from_request_to_end(
    connection: Connection, ring: KeyRing, pass_seconds: Callable[[int], None]
) -> None:
    old = (await ring.look(connection)).active.kid
    new = await ring.request_rotation(connection)
    assert await ring.request_rotation(connection) == new  # asked twice, done once
    keys = await ring.look(connection)
    assert keys.active.kid == old
    assert set(keys.public) == {old, new}
    pass_seconds(100)
    keys = await ring.look(connection)
    assert keys.active.kid == new
    assert [jwk["kid"] for jwk in json.loads(keys.document)["keys"]] == [
        new,
        old,
    ]  # PostgREST 12 tries in order
    pass_seconds(TOKEN_SECONDS + 121)
    assert set((await ring.look(connection)).public) == {new}


@pytest.mark.services
async def test_another_process_can_open_the_keys_and_another_master_key_cannot(
    connection: Connection, ring: KeyRing
) -> None:
    mine = (await ring.look(connection)).active
    same = (await KeyRing(secret=SECRET, token_seconds=TOKEN_SECONDS).look(connection)).active
    assert same.private.private_bytes_raw() == mine.private.private_bytes_raw()
    with pytest.raises(StartError, match="master_key"):
        await KeyRing(secret=bytes(32), token_seconds=TOKEN_SECONDS).look(connection)


@pytest.mark.services
async def test_a_sealed_key_cannot_be_given_another_name(
    database: Database, connection: Connection, ring: KeyRing
) -> None:
    await ring.look(connection)
    await ring.request_rotation(connection)
    with database.connect() as admin:
        admin.execute(
            "update private.signing_key set private_key ="
            " (select k.private_key from private.signing_key k where k.state = 'next') where state = 'active'"
        )
    with pytest.raises(StartError):
        await ring.look(connection)


@pytest.mark.services
async def test_a_key_deleted_in_an_emergency_is_replaced_at_the_next_look(
    database: Database, connection: Connection, ring: KeyRing
) -> None:
    leaked = (await ring.look(connection)).active.kid
    with database.connect() as admin:
        admin.execute("delete from private.signing_key")
    assert not await ring.is_published(connection)
    keys = await ring.look(connection)
    assert keys.active.kid != leaked
    assert set(keys.public) == {keys.active.kid}
    assert await ring.is_published(connection)


@pytest.mark.services
async def test_postgrest_is_told_in_the_transaction_of_each_change(
    database: Database, connection: Connection, ring: KeyRing, pass_seconds: Callable[[int], None]
) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    listening = await connect(database.url("authenticator"), name="postgrest")
    await listening.add_listener("pgrst", lambda *notice: told.put_nowait(str(notice[-1])))

    async def tells() -> bool:
        async with asyncio.timeout(5):
            return await told.get() == "reload config"

    await ring.look(connection)
    assert await tells()
    await publish_issuer(connection, issuer="https://a.example.org", audience="postgrest")
    assert await tells()
    await ring.request_rotation(connection)
    assert await tells()
    pass_seconds(100)
    await ring.look(connection)
    assert await tells()
    await ring.look(connection)  # nothing is due: nobody is told
    assert told.empty()
    await listening.close()
