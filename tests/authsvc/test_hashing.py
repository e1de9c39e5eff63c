"""Hashes and the threads that make them."""

import asyncio
from collections.abc import AsyncIterator

import bcrypt
import pytest

from authsvc.errors import OverloadedError
from authsvc.hashing import Hasher

TAIL_DIFFERS = ("x" * 72 + "one", "x" * 72 + "two")


@pytest.fixture
async def hasher() -> AsyncIterator[Hasher]:
    async with Hasher(threads=2, cost=4).running() as running:
        yield running


@pytest.mark.parametrize(
    "password",
    ["a" * 71, "a" * 72, "a" * 73, "a" * 256, "😀" * 64, "é" * 36, "é" * 37, " spaces ", "\U0010ffff" * 3],
)
async def test_every_length_is_accepted_and_compared_to_its_end(hasher: Hasher, password: str) -> None:
    stored = await hasher.make(password)
    assert await hasher.matches(password, stored)
    assert not await hasher.matches(password + "!", stored)
    assert not await hasher.matches(password[:-1], stored)


async def test_passwords_that_differ_after_byte_72_are_different(hasher: Hasher) -> None:
    one, two = TAIL_DIFFERS
    assert not await hasher.matches(two, await hasher.make(one))


async def test_a_password_composed_otherwise_is_the_same(hasher: Hasher) -> None:
    stored = await hasher.make("caf\u00e9 au lait")
    assert await hasher.matches("cafe\u0301 au lait", stored)
    assert not await hasher.matches("cafe au lait", stored)
    assert not await hasher.matches(" caf\u00e9 au lait", stored)


async def test_short_ones_are_plain_bcrypt_and_long_ones_are_marked(hasher: Hasher) -> None:
    assert (await hasher.make("a" * 72)).startswith("$2b$04$")
    assert (await hasher.make("a" * 73)).startswith("p1$$2b$04$")


async def test_a_hash_of_another_service_is_understood(hasher: Hasher) -> None:
    theirs = bcrypt.hashpw(b"velvet harbour", bcrypt.gensalt(5, prefix=b"2a")).decode()
    assert await hasher.matches("velvet harbour", theirs)
    assert hasher.is_outdated(theirs)
    assert not hasher.is_outdated(await hasher.make("velvet harbour"))


@pytest.mark.parametrize(
    "stored",
    [
        "", "x", "$2b$04$short", "$1$md5", "p1$", "\0", "$2b$04$" + "é" * 53,
        "$2b$31$" + "a" * 53, "p1$$2b$99$" + "a" * 53, "$2b$04$" + "/" * 53 + "\n",
    ],
)  # fmt: skip
async def test_an_unusable_hash_matches_nothing_and_takes_no_longer(hasher: Hasher, stored: str) -> None:
    async with asyncio.timeout(2):
        assert not await hasher.matches("a" * 20, stored)
        assert not await hasher.matches("a" * 80, stored)


async def test_no_hash_costs_as_much_as_one_and_matches_nothing(hasher: Hasher) -> None:
    assert not await hasher.matches("\0", None)
    assert not await hasher.matches("anything", None)


async def test_more_work_than_can_wait_is_refused_at_once_and_the_rest_is_done() -> None:
    async with Hasher(threads=1, cost=8).running() as hasher:
        results = await asyncio.gather(*(hasher.make("x") for _ in range(50)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert len(refused) == 50 - 8
    assert int(refused[0].headers["Retry-After"]) >= 1
    assert sum(isinstance(result, str) for result in results) == 8


async def test_one_that_would_wait_too_long_is_refused_however_short_the_queue() -> None:
    async with Hasher(threads=1, cost=4).running() as hasher:
        hasher._seconds = 1.5
        first = asyncio.create_task(hasher.make("x"))
        second = asyncio.create_task(hasher.make("x"))
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError):
            hasher.require_room()
        await asyncio.gather(first, second)


async def test_a_client_that_hangs_up_frees_no_thread() -> None:
    async with Hasher(threads=1, cost=10).running() as hasher:
        gone = asyncio.create_task(hasher.make("x"))
        await asyncio.sleep(0.02)  # it runs now: what runs cannot be taken back
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert hasher._pending == 1
        await hasher.make("y")
        assert hasher._pending <= 1
