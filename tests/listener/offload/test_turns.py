"""Places are given by turns of the owners."""

import asyncio

from listener.offload.turns import Turns


async def served(order: list[str], turns: Turns, owner: str, name: str) -> None:
    async with turns.take(owner):
        order.append(name)
        await asyncio.sleep(0)


async def test_owners_take_turns_however_much_one_has_waiting() -> None:
    order: list[str] = []
    turns = Turns(1)
    async with asyncio.TaskGroup() as group, turns.take("a"):
        for name in [*(f"a{n}" for n in range(100)), "b0", "b1", "c0"]:
            group.create_task(served(order, turns, name[0], name))
        await asyncio.sleep(0)
    assert order[:7] == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]
    assert len(order) == 103


async def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    turns = Turns(1)
    async with turns.take("a"):
        waiting = [asyncio.create_task(served([], turns, owner, "")) for owner in "ab"]
        await asyncio.sleep(0)
        assert turns.waiting == 2
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        assert turns.waiting == 1
    await waiting[1]
    async with asyncio.timeout(10), turns.take("a"):
        assert turns.waiting == 0


async def test_who_is_cancelled_when_called_up_passes_the_place_on() -> None:
    turns = Turns(1)
    async with turns.take("a"):
        first, second = (asyncio.create_task(served([], turns, owner, "")) for owner in "ab")
        await asyncio.sleep(0)
    first.cancel()  # its place is there, it has not woken up yet
    async with asyncio.timeout(10):
        await second
    assert first.cancelled()
