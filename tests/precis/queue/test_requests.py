"""precis.queue.requests: lists in their orders, one row's whole history, dead letters, and ids cut short;
on a real database."""

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from precis.faults import BadUsage, RequestFailed
from precis.queue import requests
from precis.queue.connection import Connection, connected
from precis.queue.requests import Wanted, WantedDead

from listener.queue import jobs
from tests.fix_work import TEXT, Desk

pytestmark = pytest.mark.services


@pytest.fixture
async def owner(desk: Desk) -> AsyncIterator[Connection]:
    async with connected(desk.database.url("precis_owner")) as connection:
        yield connection


async def ids(connection: Connection, wanted: Wanted) -> list[UUID]:
    return [row.id for row in await requests.read_rows(connection, wanted)]


async def test_a_list_begins_with_the_newest(desk: Desk, owner: Connection) -> None:
    await desk.model()
    asked = desk.ask_many(desk.person(), 4)
    assert await ids(owner, Wanted(3)) == asked[:0:-1]


async def test_queued_rows_stand_in_the_order_in_which_they_are_claimed(
    desk: Desk, owner: Connection
) -> None:
    model, other = await desk.model(), await desk.model("other")
    many, few = desk.person(), desk.person()
    desk.ask_many(many, 3)
    desk.ask(few)
    desk.ask(few, priority=1)
    elsewhere = desk.ask(few, model="other")
    listed = [identifier for identifier in await ids(owner, Wanted(10, "queued")) if identifier != elsewhere]
    worker = await desk.worker(model, other)
    claimed = [(await worker.claim_one(model)).request_id for _ in range(5)]
    assert listed == claimed


async def test_each_state_lists_its_own_rows(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    worker, person = await desk.worker(model), desk.person()
    done = desk.ask(person)
    await worker.finish(await worker.claim_one(model))
    failed = desk.ask(person)
    job = await worker.claim_one(model)
    await jobs.fail(worker.connection, job.claim, code="model_failed", message="No.")
    running = desk.ask(person)
    await worker.claim_one(model)
    cancelled = desk.ask(person)
    desk.call(person, "cancel", cancelled)
    scheduled = desk.ask(person, run_at=datetime.now(UTC) + timedelta(hours=1))
    queued = desk.ask(person)
    assert await ids(owner, Wanted(9, "done")) == [done]
    assert await ids(owner, Wanted(9, "failed")) == [failed]
    assert await ids(owner, Wanted(9, "running")) == [running]
    assert await ids(owner, Wanted(9, "cancelled")) == [cancelled]
    assert await ids(owner, Wanted(9, "scheduled")) == [scheduled]
    assert await ids(owner, Wanted(9, "queued")) == [queued]
    states = [row.state for row in await requests.read_rows(owner, Wanted(9))]
    assert states == ["queued", "scheduled", "cancelled", "running", "failed", "done"]


async def test_a_list_can_be_of_one_account_or_one_model(desk: Desk, owner: Connection) -> None:
    await desk.model("one:latest")
    await desk.model("two:latest")
    ann, bob = desk.person(), desk.person()
    (email,) = desk.query("select email from private.account where id = %s", bob)[0]
    desk.ask(ann)
    asked = desk.ask(bob), desk.ask(bob, model="two")
    assert await ids(owner, Wanted(9, owner=email.upper())) == [*asked[::-1]]
    assert await ids(owner, Wanted(9, "queued", model="two")) == [asked[1]]
    with pytest.raises(RequestFailed, match=r"Known here: one:latest, two:latest\."):
        await ids(owner, Wanted(9, model="three"))
    with pytest.raises(RequestFailed, match="Nobody is registered"):
        await ids(owner, Wanted(9, owner="nobody@example.com"))


async def test_every_attempt_at_a_request_is_told(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    request = desk.ask(desk.person())
    worker = await desk.worker(model)
    first = await worker.claim_one(model)
    why: dict[str, str] = {"code": "model_failed", "message": "No."}
    await jobs.back_off(worker.connection, first.claim, seconds=0, counted=True, **why)
    desk.query("update private.job set run_at = null returning id")
    await jobs.release(worker.connection, [(await worker.claim_one(model)).claim])
    await worker.claim_one(model)
    row, detail, attempts = await requests.read_one(owner, request)
    assert (row.state, row.attempts, detail.worker) == ("running", 2, "test")
    assert [(each.n, each.worker, each.outcome, each.error_code) for each in attempts] == [
        (1, "test", "retried", "model_failed"),
        (2, "test", "released", None),
        (3, "test", "running", None),
    ]


async def test_neither_text_nor_result_leaves_the_database(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    request = desk.ask(desk.person(), text="Secret " + TEXT)
    worker = await desk.worker(model)
    await worker.finish(await worker.claim_one(model), "A secret in short.")
    row, detail, attempts = await requests.read_one(owner, request)
    assert (detail.text_bytes, detail.result_characters) == (len("Secret " + TEXT), len("A secret in short."))
    assert "secret" not in str([asdict(row), asdict(detail), attempts]).lower()


async def test_a_queued_row_knows_how_many_are_ahead_and_what_is_paused(
    desk: Desk, owner: Connection
) -> None:
    await desk.model("slow")
    *_, last = desk.ask_many(desk.person(), 3)
    _, detail, attempts = await requests.read_one(owner, last)
    assert (detail.ahead, detail.queue_paused_at, detail.model_paused_at, attempts) == (2, None, None, [])
    await owner.execute("select private.pause('slow')")
    _, detail, _ = await requests.read_one(owner, last)
    assert detail.model_paused_at is not None


async def test_the_first_digits_of_an_id_are_enough_where_they_are_of_one(
    desk: Desk, owner: Connection
) -> None:
    await desk.model()
    one, two = desk.ask_many(desk.person(), 2)
    assert await requests.request_id(owner, str(one).upper()[:13]) == one
    assert await requests.request_id(owner, two.hex[:9]) == two


async def test_an_id_of_several_none_or_no_digits_is_told_apart(desk: Desk, owner: Connection) -> None:
    await desk.model()
    person = desk.person()
    twins = UUID("abcd1000-0000-4000-8000-000000000000"), UUID("abcd2000-0000-4000-8000-000000000000")
    for twin in twins:
        desk.query(
            "insert into private.request (id, owner, task, text, model, body_hash)"
            " values (%s, %s, 'summarize', 'x', 'm', '') returning id",
            twin,
            person,
        )
    with pytest.raises(BadUsage) as caught:
        await requests.request_id(owner, "abcd")
    assert (caught.value.code, caught.value.lines) == ("ambiguous_id", tuple(map(str, twins)))
    assert await requests.request_id(owner, "abcd2") == twins[1]
    with pytest.raises(RequestFailed, match="abcd3"):
        await requests.request_id(owner, "abcd3")
    for nonsense in ("abc", "xyz0", "", "a" * 33):
        with pytest.raises(BadUsage, match="is no id"):
            await requests.request_id(owner, nonsense)


async def fail_all(desk: Desk, model: int, *codes: str) -> None:
    worker = await desk.worker(model)
    for code in codes:
        desk.ask(desk.person())
        job = await worker.claim_one(model)
        await jobs.fail(worker.connection, job.claim, code=code, message=f"{code}.")


async def test_dead_letters_are_counted_by_their_codes_and_listed_the_last_first(
    desk: Desk, owner: Connection
) -> None:
    await fail_all(desk, await desk.model(), "model_failed", "model_failed", "too_long")
    by_code, rows = await requests.read_dead(owner, WantedDead(2))
    assert [(dead.code, dead.requests, dead.owners, dead.message) for dead in by_code] == [
        ("model_failed", 2, 2, "model_failed."),
        ("too_long", 1, 1, "too_long."),
    ]
    assert [row.error_code for row in rows] == ["too_long", "model_failed"]


async def test_dead_letters_can_be_those_of_a_time_or_of_a_code(desk: Desk, owner: Connection) -> None:
    await fail_all(desk, await desk.model(), "old", "new")
    desk.query("update private.job set finished_at = now() - interval '2 h' where error_code = 'old'")
    by_code, _ = await requests.read_dead(owner, WantedDead(9, seconds=3600))
    assert [dead.code for dead in by_code] == ["new"]
    by_code, rows = await requests.read_dead(owner, WantedDead(9, code="old"))
    assert ([dead.code for dead in by_code], [row.error_code for row in rows]) == (["old"], ["old"])


async def test_a_row_that_has_gone_since_its_id_was_found_is_not_there(owner: Connection) -> None:
    with pytest.raises(RequestFailed, match="There is no request"):
        await requests.read_one(owner, UUID(int=0))
