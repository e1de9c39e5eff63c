"""Hashes and the threads that make them."""

import asyncio
import threading
from collections.abc import AsyncIterator

import bcrypt
import pytest

from authsvc.errors import OverloadedError
from authsvc.hashing import Hasher

SOME_HASH = bcrypt.hashpw(b"a" * 20, bcrypt.gensalt(4)).decode()
TAIL_DIFFERS = ("x" * 72 + "one", "x" * 72 + "two")


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    async with Hasher(threads=2, cost=4).running() as running:
        yield running


async def make(hasher: Hasher, password: str) -> str:
    with hasher.place() as place:
        return await place.make(password)


async def matches(hasher: Hasher, password: str, stored: str | None) -> bool:
    with hasher.place() as place:
        return await place.matches(password, stored)


@pytest.mark.parametrize(
    "password",
    ["a" * 71, "a" * 72, "a" * 73, "a" * 256, "😀" * 64, "é" * 36, "é" * 37, " spaces ", "\U0010ffff" * 3],
)
async def test_every_length_is_accepted_and_compared_to_its_end(hasher: Hasher, password: str) -> None:
    stored = await make(hasher, password)
    assert await matches(hasher, password, stored)
    assert not await matches(hasher, password + "!", stored)
    assert not await matches(hasher, password[:-1], stored)


async def test_passwords_that_differ_after_byte_72_are_different(hasher: Hasher) -> None:
    one, two = TAIL_DIFFERS
    assert not await matches(hasher, two, await make(hasher, one))


async def test_a_password_composed_otherwise_is_the_same(hasher: Hasher) -> None:
    stored = await make(hasher, "caf\u00e9 au lait")
    assert await matches(hasher, "cafe\u0301 au lait", stored)
    assert not await matches(hasher, "cafe au lait", stored)
    assert not await matches(hasher, " caf\u00e9 au lait", stored)


async def test_short_ones_are_plain_bcrypt_and_long_ones_are_marked(hasher: Hasher) -> None:
    assert (await make(hasher, "a" * 72)).startswith("$2b$04$")
    assert (await make(hasher, "a" * 73)).startswith("p1$$2b$04$")


async def test_a_hash_of_another_service_is_understood(hasher: Hasher) -> None:
    theirs = bcrypt.hashpw(b"velvet harbour", bcrypt.gensalt(5, prefix=b"2a")).decode()
    assert await matches(hasher, "velvet harbour", theirs)
    assert hasher.is_outdated(theirs)
    assert not hasher.is_outdated(await make(hasher, "velvet harbour"))


@pytest.mark.parametrize(
    "stored",
    [
        "", "x", "$2b$04$short", "$1$md5", "p1$", "\0", "$2b$04$" + "é" * 53,
        SOME_HASH.replace("$04$", "$16$"), SOME_HASH.replace("$04$", "$31$"), "p1$$2b$99$" + "a" * 53,
        "$2b$04$" + "/" * 53 + "\n",
    ],
    ids=[
        "empty", "one letter", "short", "other kind", "nothing", "NUL", "no base64", "2^16 rounds",
        "2^31 rounds", "no such rounds", "newline",
    ],
)  # fmt: skip
async def test_an_unusable_hash_matches_nothing_and_takes_no_longer(hasher: Hasher, stored: str) -> None:
    async with asyncio.timeout(2):
        assert not await matches(hasher, "a" * 20, stored)
        assert not await matches(hasher, "a" * 80, stored)


async def test_no_hash_costs_as_much_as_one_and_matches_nothing(hasher: Hasher) -> None:
    assert not await matches(hasher, "\0", None)
    assert not await matches(hasher, "anything", None)


async def test_more_work_than_can_wait_is_refused_at_once_and_the_rest_is_done() -> None:
    async with Hasher(threads=1, cost=4).running() as hasher:
        results = await asyncio.gather(*(make(hasher, "x") for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert len(refused) == 50 - 8
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert sum(isinstance(result, str) for result in results) == 8


async def test_one_that_would_wait_too_long_is_refused_however_short_the_queue() -> None:
    async with Hasher(threads=1, cost=4).running() as hasher:
        hasher._seconds = 1.5
        with hasher.place(), hasher.place(), pytest.raises(OverloadedError), hasher.place():
            pass
        await make(hasher, "there is room again")


async def test_a_client_that_hangs_up_frees_no_thread() -> None:
    started, done = threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        done.wait()

    async with Hasher(threads=1, cost=4).running() as hasher:
        with hasher.place() as place:
            place.is_used = True
            asked = asyncio.create_task(hasher._run(work))
            await asyncio.to_thread(started.wait)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert hasher._taken == 1
        done.set()
        await make(hasher, "after it")
        assert hasher._taken <= 1
