"""When a model server is left alone, and how it comes back."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from listener.breaker import (
    FAILURES_IN_A_ROW,
    NOT_THE_SERVERS,
    OPEN_CAP_SECONDS,
    Breaker,
    Verdict,
    jitter,
    judge,
)
from listener.errors import CapacityError, PermanentError, TaskError, TransientError, UnreachableError
from tests.fix_engine import MODEL, ModelServer
from tests.fix_work import Desk
from tests.listener.small_server import serving
from tests.listener.test_worker import ENDED, HOLDS_BOTH, HUNGRY, is_running

RESTING = 30.0  # longer than a test waits
HALF_OPEN, OPEN = 1, 2  # as the metric tells it
IDLE_SLOTS = "select count(*) from private.slot where worker_id is null"


def use(breaker: Breaker, verdict: Verdict, times: int = 1) -> float | None:
    """So many uses, one after the other; what the last one said."""
    said = None
    for _ in range(times):
        said = breaker.end(breaker.begin(), verdict)
    return said


def opened() -> Breaker:
    breaker = Breaker()
    use(breaker, "busy")
    return breaker


def half_open() -> Breaker:
    breaker = opened()
    assert breaker.half_open(breaker.turn)
    return breaker


def test_failures_in_a_row_open_it_and_one_answer_between_them_does_not() -> None:
    breaker = Breaker()
    assert use(breaker, "failed", FAILURES_IN_A_ROW - 1) is None
    use(breaker, "answered")
    assert use(breaker, "failed", FAILURES_IN_A_ROW - 1) is None
    assert breaker.admits
    assert use(breaker, "failed") is not None
    assert not breaker.admits


def test_a_busy_server_is_left_alone_at_once() -> None:
    assert use(Breaker(), "busy") is not None


def test_what_says_nothing_of_the_server_never_opens_it_and_mends_nothing() -> None:
    breaker = Breaker()
    assert use(breaker, "unknown", 100) is None
    use(breaker, "failed", FAILURES_IN_A_ROW - 1)
    use(breaker, "unknown")
    assert use(breaker, "failed") is not None


def test_calls_that_fail_together_open_it_once() -> None:
    breaker = Breaker()
    turns = [breaker.begin() for _ in range(8)]
    said = [breaker.end(turn, "failed") for turn in turns]
    assert [seconds is not None for seconds in said] == [n == FAILURES_IN_A_ROW - 1 for n in range(8)]


def test_when_its_time_is_over_one_use_at_a_time_is_let_in() -> None:
    breaker = half_open()
    assert breaker.admits
    turn = breaker.begin()
    assert not breaker.admits
    assert breaker.end(turn, "unknown") is None
    assert (breaker.state, breaker.admits) == ("half_open", True)


def test_a_trial_that_goes_well_closes_it() -> None:
    breaker = half_open()
    use(breaker, "answered")
    assert breaker.state == "closed"
    assert use(breaker, "failed", FAILURES_IN_A_ROW - 1) is None


def test_a_trial_that_fails_opens_it_again_at_once() -> None:
    breaker = half_open()
    assert use(breaker, "failed") is not None
    assert breaker.state == "open"


@pytest.mark.parametrize("verdict", ["answered", "failed"])
def test_a_use_from_before_it_opened_is_not_taken_for_the_trial(verdict: Verdict) -> None:
    breaker = Breaker()
    old = breaker.begin()
    use(breaker, "busy")
    assert breaker.end(old, verdict) is None
    breaker.half_open(breaker.turn)
    breaker.begin()
    assert breaker.end(old, verdict) is None
    assert (breaker.state, breaker.admits) == ("half_open", False)


def test_a_timer_of_an_earlier_time_changes_nothing() -> None:
    breaker = half_open()
    earlier = breaker.turn
    use(breaker, "failed")
    assert not breaker.half_open(earlier)
    assert breaker.state == "open"


def test_it_stays_open_at_random_below_a_ceiling_that_doubles_up_to_a_minute() -> None:
    for openings, ceiling in ((1, 2), (2, 4), (5, 32), (6, OPEN_CAP_SECONDS), (10_000, OPEN_CAP_SECONDS)):
        waits = [jitter(openings) for _ in range(500)]
        assert ceiling * 0.9 < max(waits) <= ceiling
        assert min(waits) < ceiling * 0.1


def test_trials_that_fail_make_the_next_time_longer_and_an_answer_makes_it_short_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("listener.breaker.jitter", float)
    breaker = Breaker()
    said = []
    for verdict in ("busy", "busy", "failed", "answered", "busy"):
        said.append(use(breaker, verdict))
        breaker.half_open(breaker.turn)
    assert said == [1, 2, 3, None, 1]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TransientError("model_failed", "."), "failed"),
        (TransientError("deadline_exceeded", "."), "failed"),
        (UnreachableError("model_unreachable", "."), "failed"),
        (CapacityError("model_busy", "."), "busy"),
        (PermanentError("input_too_long", "."), "unknown"),
        *((TransientError(code, "."), "unknown") for code in sorted(NOT_THE_SERVERS)),
    ],
    ids=lambda value: value.code if isinstance(value, TaskError) else value,
)
def test_only_what_is_the_servers_making_counts_against_it(error: TaskError, verdict: Verdict) -> None:
    assert judge(error) == verdict


async def is_at(server_url: str, level: int) -> None:
    """Waits until the server's breaker stands so."""
    async with asyncio.timeout(10):
        while REGISTRY.get_sample_value("precis_breaker_state", {"host": server_url}) != level:
            await asyncio.sleep(0.002)


@pytest.mark.services
async def test_a_failing_model_server_is_left_alone_and_jobs_wait_uncharged(
    desk: Desk, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.breaker.jitter", lambda _openings: RESTING)
    async with desk.working(model_server.url, slots_per_model=1, max_attempts=9):
        with model_server.faults({"fault": "error_500"}):
            desk.ask(desk.person())
            await is_at(model_server.url, OPEN)
        await desk.until("select from (" + IDLE_SLOTS + ") s where count = 1")
        await desk.until("select 1 where not exists (" + HUNGRY + ")")
        late = desk.ask(desk.person())
        await desk.until("select from private.worker where models = '{}'")
        assert desk.job(late)["attempts"] == 0
        assert desk.query("select count(*) from private.attempt") == [(FAILURES_IN_A_ROW,)]


@pytest.mark.services
async def test_when_the_time_is_over_the_worker_looks_by_itself_and_one_success_lets_all_in(
    desk: Desk, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.breaker.jitter", lambda _openings: 0.3)
    async with desk.working(model_server.url):
        with model_server.faults({"fault": "error_503", "times": 2}):
            requests = desk.ask_many(desk.person(), 4)
            for request in requests:
                assert (await desk.until(ENDED, request, within=10))[0] == "done"
        await is_at(model_server.url, 0)


@pytest.mark.services
async def test_another_model_server_does_the_work_of_one_that_is_left_alone(
    desk: Desk, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.breaker.jitter", lambda _openings: RESTING)
    async with serving(MODEL) as other, desk.working(model_server.url, other.url, slots_per_model=1):
        other.open.clear()
        with model_server.faults({"fault": "error_503"}):
            requests = desk.ask_many(desk.person(), 4)
            await is_at(model_server.url, OPEN)
            other.open.set()
            for request in requests:
                assert (await desk.until(ENDED, request))[0] == "done"
    assert other.calls == 8  # each answer of one sentence is too short and asked for again


@pytest.mark.services
async def test_another_worker_gets_the_slots_of_one_whose_calls_fail(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.breaker.jitter", lambda _openings: RESTING)
    async with serving("one:latest") as server, desk.working(server.url), desk.working(server.url):
        await desk.until("select 1 from private.slot group by model_id having count(distinct worker_id) = 2")
        server.busy = 1  # for one call, and so for one of the two workers
        request = desk.ask(desk.person())
        await desk.until(HOLDS_BOTH)
        await desk.until(ENDED, request)


@pytest.mark.services
async def test_on_trial_one_call_runs_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.breaker.jitter", lambda _openings: 1.0)
    async with serving("one:latest", "two:latest") as server, desk.working(server.url):
        person = desk.person()
        server.busy = 1
        requests = [desk.ask(person, model="one:latest")]
        await is_at(server.url, OPEN)
        server.open.clear()
        for model in ("one:latest", "two:latest"):
            requests += desk.ask_many(person, 2, model=model)
        await is_at(server.url, HALF_OPEN)
        await is_running(server, 1)
        await desk.until("select 1 from private.slot having count(worker_id) = 4")
        await desk.until("select 1 where not exists (" + HUNGRY + ")")
        assert desk.query("select count(*) from private.job where state = 'running'") == [(1,)]
        server.open.set()
        for request in requests:
            await desk.until(ENDED, request)
    assert desk.query("select max(attempts) from private.job") == [(1,)]
