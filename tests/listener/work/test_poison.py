"""What one person's texts bring about at a model server is charged to these texts, and delays nobody else."""

import asyncio
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tests.fix_work import TEXT, Desk
from tests.listener.model.small_server import serving
from tests.listener.model.test_breaker import is_at
from tests.listener.work.poison_server import CODES, MARK, POISONS, Poison, PoisonServer
from tests.listener.work.test_worker import ENDED

pytestmark = pytest.mark.services

BAD = 8
SILENT = ("never begins", "stalls")
HASTY = {"first_token_seconds": 0.5, "idle_seconds": 0.5}
PATIENT = {"first_token_seconds": 30.0, "idle_seconds": 30.0}
OPEN = 2


def poison(desk: Desk, person: UUID, count: int) -> list[UUID]:
    return [desk.ask(person, f"{MARK} {n}. {TEXT}") for n in range(count)]


async def ends(desk: Desk, request: UUID) -> tuple[str, str | None, int, int]:
    state, code, attempts, epoch = await desk.until(ENDED, request, within=60)
    return state, code, attempts, epoch


@pytest.mark.parametrize("kind", POISONS)
async def test_eight_bad_texts_of_one_person_delay_nobody_else(desk: Desk, kind: Poison) -> None:
    ada, bob = desk.person(), desk.person()
    with capture_logs() as logs:
        async with (
            serving("one:latest", kind=PoisonServer) as server,
            desk.working(server.url, max_attempts=2, **(HASTY if kind in SILENT else PATIENT)),
        ):
            server.poison = kind
            bad = poison(desk, ada, BAD)
            good = desk.ask_many(bob, 4)
            for request in good:
                assert await ends(desk, request) == ("done", None, 1, 1)
            late = desk.ask(bob)
            assert await ends(desk, late) == ("done", None, 1, 1)
            for request in bad:
                state, code, *_ = await ends(desk, request)
                assert (state, code) == (("failed", CODES[kind]) if CODES[kind] else ("done", None))
    events = [line["event"] for line in logs]
    assert "request.done" in events
    assert "breaker.opened" not in events
    assert "request.internal_error" not in events


async def test_what_the_engine_fails_at_is_not_tried_again(desk: Desk) -> None:
    async with serving("one:latest", kind=PoisonServer) as server, desk.working(server.url):
        server.poison = "engine error"
        (request,) = poison(desk, desk.person(), 1)
        assert await ends(desk, request) == ("failed", "engine_failed", 1, 1)
    ((message,),) = desk.query("select error_message from private.job where request_id = %s", request)
    assert "Nothing is wrong with the request" not in message
    assert "fault in Precis" in message


async def test_bad_texts_of_several_people_leave_the_first_try_to_another(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: 0.3)
    ada, eve, bob = desk.person(), desk.person(), desk.person()
    async with (
        serving("one:latest", kind=PoisonServer) as server,
        desk.working(server.url, max_attempts=9, slots_per_model=1),
    ):
        server.poison = "hangs up"
        for person in (ada, eve):
            poison(desk, person, 3)
        await is_at(server.url, OPEN)
        await desk.until("select from private.attempt where error_code = 'model_resting'")
        request = desk.ask(bob)
        assert await ends(desk, request) == ("done", None, 1, 1)


async def test_a_busy_server_is_not_called_before_the_time_it_asks_for(desk: Desk) -> None:
    began: list[float] = []

    class Watched(PoisonServer):
        async def chat(self, request):  # type: ignore[no-untyped-def]
            began.append(asyncio.get_running_loop().time())
            return await super().chat(request)

    async with serving("one:latest", kind=Watched) as server, desk.working(server.url):
        server.busy, server.headers = 1, {"Retry-After": "3"}
        first, second = desk.ask(desk.person()), desk.ask(desk.person())
        for request in (first, second):
            assert (await ends(desk, request))[0] == "done"
    # Two may have been on their way together.
    later = [at for at in began if at > began[0] + 0.5]
    assert later[0] - began[0] >= 2.9
