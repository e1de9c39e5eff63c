"""When a model server is left alone, and how it comes back."""

import asyncio
from uuid import UUID, uuid4

import pytest
from prometheus_client import REGISTRY

from listener.errors import CapacityError, TaskError
from listener.model.breaker import (
    ANSWERED,
    FAILED_REQUESTS,
    OPEN_CAP_SECONDS,
    UNKNOWN,
    Breaker,
    Caller,
    Finding,
    Verdict,
    jitter,
    judge,
)
from listener.model.rulings import RULINGS, rule
from tests.fix_engine import MODEL, ModelServer
from tests.fix_work import Desk
from tests.listener.model.small_server import serving
from tests.listener.work.test_worker import ENDED, HOLDS_BOTH, HUNGRY, is_running

RESTING = 30.0  # longer than a test waits
HALF_OPEN, OPEN = 1, 2  # as the metric tells it
IDLE_SLOTS = "select count(*) from private.slot where worker_id is null"
ADA, BOB = uuid4(), uuid4()
BUSY, DOWN, FAILED = Finding("busy"), Finding("down"), Finding("failed")


def caller(owner: UUID = ADA) -> Caller:
    """Somebody with a request of its own."""
    return Caller(owner, uuid4())


def use(breaker: Breaker, finding: Finding, *callers: Caller) -> float | None:
    """A use for each of these; what the last one said."""
    said = None
    for who in callers or (caller(),):
        said = breaker.end(breaker.begin(), who, finding)
    return said


def opened(finding: Finding = BUSY, *callers: Caller) -> Breaker:
    breaker = Breaker()
    assert use(breaker, finding, *callers) is not None
    return breaker


def half_open(finding: Finding = BUSY, *callers: Caller) -> Breaker:
    breaker = opened(finding, *callers)
    assert breaker.half_open(breaker.turn)
    return breaker


def test_requests_that_fail_in_a_row_open_it_and_one_answer_between_them_does_not() -> None:
    breaker = Breaker()
    few = [caller() for _ in range(FAILED_REQUESTS - 1)]
    assert use(breaker, DOWN, *few) is None
    use(breaker, ANSWERED)
    assert use(breaker, DOWN, *few) is None
    assert breaker.admits
    assert use(breaker, DOWN) is not None
    assert not breaker.admits


@pytest.mark.parametrize("finding", [DOWN, FAILED])
def test_one_request_opens_nothing_however_often_it_is_tried(finding: Finding) -> None:
    assert use(Breaker(), finding, *[caller()] * 100) is None


def test_what_a_text_can_have_caused_must_befall_several_people() -> None:
    breaker = Breaker()
    assert use(breaker, FAILED, *(caller(ADA) for _ in range(100))) is None
    assert use(breaker, FAILED, caller(BOB)) is not None


def test_two_requests_of_two_people_are_too_few() -> None:
    assert use(Breaker(), FAILED, caller(ADA), caller(BOB)) is None


def test_a_busy_server_is_left_alone_at_once_and_for_as_long_as_it_wishes() -> None:
    assert use(Breaker(), BUSY) is not None
    said = use(Breaker(), Finding("busy", rest_seconds=90.0))
    assert said == 90.0


def test_what_says_nothing_of_the_server_never_opens_it_and_mends_nothing() -> None:
    breaker = Breaker()
    assert use(breaker, UNKNOWN, *(caller() for _ in range(100))) is None
    use(breaker, DOWN, caller(), caller())
    use(breaker, UNKNOWN)
    assert use(breaker, DOWN) is not None


def test_calls_that_fail_together_open_it_once() -> None:
    breaker = Breaker()
    turns = [breaker.begin() for _ in range(8)]
    said = [breaker.end(turn, caller(), DOWN) for turn in turns]
    assert [seconds is not None for seconds in said] == [n == FAILED_REQUESTS - 1 for n in range(8)]


def test_when_its_time_is_over_one_use_at_a_time_is_let_in() -> None:
    breaker = half_open()
    assert breaker.admits
    turn = breaker.begin()
    assert not breaker.admits
    assert breaker.end(turn, caller(), UNKNOWN) is None
    assert (breaker.state, breaker.admits) == ("half_open", True)


def test_another_persons_request_is_the_trial_if_there_is_one() -> None:
    bad, worse = caller(ADA), caller(BOB)
    breaker = half_open(FAILED, bad, caller(ADA), worse)
    assert breaker.prefers_another(bad)
    assert breaker.prefers_another(caller(ADA))
    assert not breaker.prefers_another(caller(uuid4()))
    assert not breaker.prefers_another(bad)  # nobody else has come


def test_where_no_text_can_be_the_cause_any_other_request_is_the_trial() -> None:
    bad = caller()
    breaker = half_open(DOWN, bad, caller(), caller())
    assert breaker.prefers_another(bad)
    assert not breaker.prefers_another(caller())


def test_a_trial_that_goes_well_closes_it() -> None:
    breaker = half_open()
    use(breaker, ANSWERED)
    assert breaker.state == "closed"
    assert use(breaker, DOWN, caller(), caller()) is None


def test_a_trial_that_fails_opens_it_again_at_once() -> None:
    breaker = half_open()
    assert use(breaker, FAILED) is not None
    assert breaker.state == "open"


@pytest.mark.parametrize("finding", [ANSWERED, FAILED])
def test_a_use_from_before_it_opened_is_not_taken_for_the_trial(finding: Finding) -> None:
    breaker = Breaker()
    old = breaker.begin()
    use(breaker, BUSY)
    assert breaker.end(old, caller(), finding) is None
    breaker.half_open(breaker.turn)
    breaker.begin()
    assert breaker.end(old, caller(), finding) is None
    assert (breaker.state, breaker.admits) == ("half_open", False)


def test_a_timer_of_an_earlier_time_changes_nothing() -> None:
    breaker = half_open()
    earlier = breaker.turn
    use(breaker, FAILED)
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
    monkeypatch.setattr("listener.model.breaker.jitter", float)
    breaker = Breaker()
    said = []
    for finding in (BUSY, BUSY, FAILED, ANSWERED, BUSY):
        said.append(use(breaker, finding))
        breaker.half_open(breaker.turn)
    assert said == [1, 2, 3, None, 1]


def test_a_trial_that_has_failed_before_does_not_make_it_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.model.breaker.jitter", float)
    bad = caller(ADA)
    breaker = half_open(FAILED, bad, caller(ADA), caller(BOB))
    assert use(breaker, FAILED, bad) == 1


VERDICTS: dict[str, Verdict] = {
    "model_unreachable": "down",
    "model_unresolved": "down",
    "model_untrusted": "down",
    "model_moved": "down",
    "model_unavailable": "down",
    "model_busy": "busy",
    "model_resting": "busy",
    "model_failed": "failed",
    "model_timeout": "failed",
    "model_stalled": "failed",
    "stream_broken": "failed",
    "answer_incomplete": "failed",
    "deadline_exceeded": "failed",
}


@pytest.mark.parametrize("code", sorted(RULINGS))
def test_only_what_can_be_the_servers_making_counts_against_it(code: str) -> None:
    assert judge(rule(code)).verdict == VERDICTS.get(code, "unknown")


def test_what_no_table_knows_counts_against_nobody() -> None:
    assert judge(TaskError("never_heard_of", ".")) == UNKNOWN


def test_a_busy_servers_wish_is_passed_on() -> None:
    assert judge(CapacityError("model_busy", ".", retry_after_seconds=7.0)) == Finding("busy", 7.0)


async def is_at(server_url: str, level: int) -> None:
    """Waits until the server's breaker stands so."""
    async with asyncio.timeout(10):
        while REGISTRY.get_sample_value("precis_breaker_state", {"host": server_url}) != level:
            await asyncio.sleep(0.002)


@pytest.mark.services
async def test_a_failing_model_server_is_left_alone_and_jobs_wait_uncharged(
    desk: Desk, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: RESTING)
    async with desk.working(model_server.url, slots_per_model=1, max_attempts=9):
        with model_server.faults({"fault": "error_500"}):
            for _ in range(FAILED_REQUESTS):
                desk.ask(desk.person())
            await is_at(model_server.url, OPEN)
        await desk.until("select from (" + IDLE_SLOTS + ") s where count = 1")
        await desk.until("select 1 where not exists (" + HUNGRY + ")")
        late = desk.ask(desk.person())
        await desk.until("select from private.worker where models = '{}'")
        assert desk.job(late)["attempts"] == 0


@pytest.mark.services
async def test_when_the_time_is_over_the_worker_looks_by_itself_and_one_success_lets_all_in(
    desk: Desk, model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: 0.3)
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
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: RESTING)
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
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: RESTING)
    async with serving("one:latest") as server, desk.working(server.url), desk.working(server.url):
        await desk.until("select 1 from private.slot group by model_id having count(distinct worker_id) = 2")
        server.busy = 1  # for one call, and so for one of the two workers
        request = desk.ask(desk.person())
        await desk.until(HOLDS_BOTH)
        await desk.until(ENDED, request)


@pytest.mark.services
async def test_on_trial_one_call_runs_at_a_time(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.model.breaker.jitter", lambda _openings: 1.0)
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
