"""precis.queue.quotas: an allowance is everybody's or an account's own, and what is not said stays; on a real
database."""

from collections.abc import AsyncIterator

import pytest
from precis.faults import RequestFailed
from precis.queue import quotas
from precis.queue.connection import Connection, connected
from precis.queue.quotas import Change

from tests.fix_work import TEXT, Desk
from tests.sql.acting import refused

pytestmark = pytest.mark.services


@pytest.fixture
async def owner(desk: Desk) -> AsyncIterator[Connection]:
    async with connected(desk.database.url("precis_owner")) as connection:
        yield connection


@pytest.fixture
async def email(desk: Desk) -> str:
    await desk.model()
    person = desk.person()
    desk.ask(person)
    return str(desk.query("select email from private.account where id = %s", person)[0][0])


async def test_what_is_not_said_stays_as_it_was(owner: Connection) -> None:
    before = await quotas.read_allowance(owner, None)
    await quotas.set_allowance(owner, None, Change({"requests_waiting": 7}))
    after = await quotas.read_allowance(owner, None)
    assert (after.who, after.requests_waiting, after.waiting_now) == ("everybody", 7, None)
    assert (after.requests_per_day, after.bytes_per_day) == (before.requests_per_day, before.bytes_per_day)


async def test_an_own_allowance_begins_as_everybodys_and_then_goes_its_own_way(
    owner: Connection, email: str
) -> None:
    await quotas.set_allowance(owner, None, Change({"requests_per_day": 70}))
    await quotas.set_allowance(owner, email, Change({}, weight=2.5))
    await quotas.set_allowance(owner, email, Change({"bytes_per_day": None}))
    await quotas.set_allowance(owner, None, Change({"requests_per_day": 80}))
    found = await quotas.read_allowance(owner, email)
    assert (found.who, found.own, found.weight) == (email, True, 2.5)
    assert (found.requests_per_day, found.bytes_per_day) == (70, None)
    assert [allowance.who for allowance in await quotas.read_own(owner)] == [email]


async def test_an_own_allowance_can_be_taken_away(owner: Connection, email: str) -> None:
    await quotas.set_allowance(owner, email, Change({"requests_per_day": 1}))
    await quotas.reset_allowance(owner, email)
    found = await quotas.read_allowance(owner, email)
    assert (found.own, found.requests_per_day) == (False, 10_000)


async def test_what_has_been_used_today_is_told(owner: Connection, email: str, desk: Desk) -> None:
    found = await quotas.read_allowance(owner, email)
    assert (found.waiting_now, found.requests_today, found.bytes_today) == (1, 1, len(TEXT))
    desk.query("update private.event_cursor set day = day - 1 returning n")
    found = await quotas.read_allowance(owner, email)
    assert (found.waiting_now, found.requests_today, found.bytes_today) == (1, 0, 0)


async def test_a_quota_holds_from_the_next_insert_on(owner: Connection, desk: Desk) -> None:
    await desk.model()
    await quotas.set_allowance(owner, None, Change({"requests_waiting": 1}))
    person = desk.person()
    desk.ask(person)
    with refused("too_many_waiting"):
        desk.ask(person)


async def test_everybodys_allowance_can_be_made_again_where_somebody_deleted_it(
    owner: Connection, email: str
) -> None:
    await owner.execute("delete from private.allowance")
    assert (await quotas.read_allowance(owner, email)).requests_per_day is None
    await quotas.set_allowance(owner, None, Change({"requests_per_day": 9}))
    assert (await quotas.read_allowance(owner, email)).requests_per_day == 9


async def test_nobody_has_no_allowance(owner: Connection) -> None:
    with pytest.raises(RequestFailed, match=r"nobody@example\.com"):
        await quotas.set_allowance(owner, "nobody@example.com", Change({}, weight=1))
