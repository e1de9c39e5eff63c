"""precis.queue.control: an operator's orders and what becomes of the rows, on a real database."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from precis.faults import BadUsage, RequestFailed
from precis.queue import control
from precis.queue.connection import Connection, connected
from precis.queue.requests import Wanted, WantedDead

from listener.queue import jobs
from tests.fix_work import Desk, Hand

pytestmark = pytest.mark.services


@pytest.fixture
async def owner(desk: Desk) -> AsyncIterator[Connection]:
    async with connected(desk.database.url("precis_owner")) as connection:
        yield connection


async def fail_next(worker: Hand, model: int, code: str = "model_failed") -> UUID:
    job = await worker.claim_one(model)
    await jobs.fail(worker.connection, job.claim, code=code, message="No.")
    return job.request_id


async def test_a_request_of_anybody_can_be_ended_and_queued_again(desk: Desk, owner: Connection) -> None:
    await desk.model()
    request = desk.ask(desk.person())
    assert await control.cancel(owner, request.hex[:10]) == control.Answer(str(request))
    assert desk.job(request)["state"] == "cancelled"
    assert (await control.retry(owner, str(request))).code is None
    assert desk.job(request)["state"] == "ready"


async def test_a_refusal_is_an_answer_with_its_code(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    request = desk.ask(desk.person())
    worker = await desk.worker(model)
    await worker.finish(await worker.claim_one(model))
    assert (await control.cancel(owner, str(request))).code == "already_finished"
    assert (await control.retry(owner, str(request))).code == "not_failed"
    assert (await control.retry(owner, "0123")).code == "request_not_found"
    assert (await control.retry(owner, "?")).code == "bad_id"


async def test_requests_are_found_by_a_state_that_is_no_end(desk: Desk, owner: Connection) -> None:
    model, person = await desk.model("one:latest"), desk.person()
    worker = await desk.worker(model)
    _, running = desk.ask_many(person, 2)
    await worker.finish(await worker.claim_one(model))
    await worker.claim_one(model)
    scheduled, queued, others = desk.ask(person), desk.ask(person), desk.ask(desk.person())
    desk.query("update private.job set run_at = now() + interval '1 h' where request_id = %s", scheduled)

    async def found(state: control.OpenState, **narrower: str) -> list[UUID]:
        return await control.find_open(owner, Wanted(None, state, **narrower))

    assert await found("running") == [running]
    assert await found("scheduled") == [scheduled]
    assert await found("queued") == [queued, others]
    (email,) = desk.query("select email from private.account where id = %s", person)[0]
    assert await found("queued", owner=email, model="one") == [queued]
    with pytest.raises(RequestFailed, match="Nobody is registered"):
        await found("queued", owner="nobody@example.com")


async def test_what_has_left_the_state_before_its_turn_goes_on(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    first, second, third = desk.ask_many(desk.person(), 3)
    steps = control.cancel_all(owner, [first, second, third], "queued")
    assert await anext(steps) is True
    job = await worker.claim_one(model)
    assert [was_cancelled async for was_cancelled in steps] == [False, True]
    assert (job.request_id, desk.job(second)["state"]) == (second, "running")
    assert [desk.job(each)["state"] for each in (first, third)] == ["cancelled", "cancelled"]


async def redriven(owner: Connection, wanted: WantedDead) -> list[bool]:
    return [was_queued async for was_queued in control.redrive(owner, wanted)]


async def test_dead_letters_are_queued_again_over_several_batches(
    desk: Desk, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BATCH", 2)
    model = await desk.model()
    worker = await desk.worker(model)
    requests = desk.ask_many(desk.person(), 5)
    for _ in requests:
        await fail_next(worker, model)
    assert await control.count_dead(owner, WantedDead()) == 5
    assert await redriven(owner, WantedDead()) == [True] * 5
    assert {desk.job(request)["state"] for request in requests} == {"ready"}
    assert await control.count_dead(owner, WantedDead()) == 0


async def test_only_those_of_the_code_and_the_time_are_queued_again(desk: Desk, owner: Connection) -> None:
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask_many(desk.person(), 3)
    old, other, meant = [await fail_next(worker, model, code) for code in ("busy", "other", "busy")]
    desk.query("update private.job set finished_at = now() - interval '1 d' where request_id = %s", old)
    wanted = WantedDead(seconds=3600, code="busy")
    assert await control.count_dead(owner, wanted) == 1
    assert await redriven(owner, wanted) == [True]
    assert [desk.job(request)["state"] for request in (old, other, meant)] == ["failed", "failed", "ready"]


async def test_what_fails_during_a_redrive_is_no_part_of_it(
    desk: Desk, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "BATCH", 1)
    model = await desk.model()
    worker = await desk.worker(model)
    desk.ask_many(desk.person(), 2)
    for _ in range(2):
        await fail_next(worker, model)
    seen = 0
    async for _ in control.redrive(owner, WantedDead()):
        seen += 1
        await fail_next(worker, model)
    assert seen == 2


async def test_one_that_somebody_else_queued_first_is_passed_by(
    desk: Desk, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = await desk.model()
    worker, person = await desk.worker(model), desk.person()
    desk.ask_many(person, 2)
    _, second = [await fail_next(worker, model) for _ in range(2)]
    steps = control.redrive(owner, WantedDead())
    assert await anext(steps) is True
    desk.call(person, "retry", second)
    assert [was_queued async for was_queued in steps] == [False]


async def test_a_pause_is_of_one_model_or_of_everything(desk: Desk, owner: Connection) -> None:
    model = await desk.model("one:latest")
    desk.ask(desk.person())
    worker = await desk.worker(model)
    assert (await control.pause(owner, "one")).models == ["one:latest"]
    assert await worker.claim(model) == []
    assert (await control.pause(owner, None)).everything is not None
    assert (await control.resume(owner, None)).models == ["one:latest"]
    assert await worker.claim(model) == []
    assert await control.resume(owner, "one") == control.Pauses(None, [], 0)
    assert len(await worker.claim(model)) == 1
    assert (await control.read_pauses(owner)).running == 1


async def test_a_model_that_is_not_known_cannot_be_paused(desk: Desk, owner: Connection) -> None:
    with pytest.raises(RequestFailed) as caught:
        await control.pause(owner, "three")
    assert (caught.value.code, caught.value.exit_code) == ("unknown_model", 1)


async def test_a_worker_is_drained_by_number_or_by_name_if_it_is_the_only_one(
    desk: Desk, owner: Connection
) -> None:
    model = await desk.model()
    first = await desk.worker(model)
    number = first.claimant.worker_id
    desk.ask(desk.person())
    assert await control.drain(owner, "test", on=True) == number
    assert await first.claim(model) == []
    assert await control.drain(owner, str(number), on=False) == number
    assert len(await first.claim(model)) == 1
    await desk.worker(model)
    with pytest.raises(BadUsage, match=f"say which of {number}, "):
        await control.drain(owner, "test", on=True)
    with pytest.raises(RequestFailed, match="No worker is called 4711"):
        await control.drain(owner, "4711", on=True)
