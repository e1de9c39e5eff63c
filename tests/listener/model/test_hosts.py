"""Which model servers answer and what they serve, as the database and the worker learn it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from listener.model import breaker
from listener.model.breaker import ANSWERED, Caller, Finding
from listener.model.chat import Patience
from listener.model.hosts import ANY_NUMBER, HostOptions, Hosts, Visit
from tests.fix_engine import ModelServer
from tests.fix_work import Desk
from tests.listener.model.small_server import SmallServer, serving


@dataclass
class Changes:
    """Counts the calls of `changed`, and waits for one."""

    happened: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> None:
        await asyncio.wait_for(self.happened.wait(), 20)
        self.happened.clear()


@asynccontextmanager
async def watching(desk: Desk, *urls: str, default: str = "") -> AsyncIterator[tuple[Hosts, Changes]]:
    changes = Changes()
    worker = await desk.worker()
    async with desk.statements() as pool:
        wishes = HostOptions(2, default, 4096, "5m", Patience(5, 5))
        hosts = Hosts(pool, wishes, claimant=lambda: worker.claimant, changed=changes.happened.set)
        tasks = [asyncio.create_task(hosts.watch(url)) for url in urls]
        try:
            yield hosts, changes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def somebody() -> Caller:
    return Caller(uuid4(), uuid4())


def visit(hosts: Hosts) -> Visit:
    """A use of the only host by its first model."""
    made = hosts.visit(1, hosts.models()[0], somebody())
    assert made is not None
    return made


@pytest.mark.services
async def test_the_built_in_engine_is_announced_as_what_it_is(desk: Desk, model_server: ModelServer) -> None:
    async with watching(desk, model_server.url) as (hosts, changes):
        await changes.next()
        assert hosts.answering
        (model_id,) = hosts.models()
        (host_id,) = hosts.serving(model_id)
        visit = hosts.visit(host_id, model_id, somebody())
    assert visit is not None
    assert (visit.model.engine, visit.model.context_tokens > 1_000_000) == ("extractive", True)
    assert desk.query("select name, engine, is_default, available from public.models") == [
        ("extractive:latest", "extractive", True, True)
    ]
    assert desk.query("select count(*) from private.slot") == [(2,)]


@pytest.mark.services
async def test_a_new_model_is_noticed_and_one_that_went_away_is_not_used(desk: Desk) -> None:
    async with serving("one:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        server.models[:] = ["two:latest"]
        visit(hosts).suspect()
        assert hosts.models() == []
        changes.happened.clear()
        await changes.next()
        served = [model_id for model_id in hosts.models() if hosts.visit(1, model_id, somebody())]
    assert desk.query("select name from private.model where id = any (%s)", served) == [("two:latest",)]
    assert desk.query("select name from public.models where available") == [("two:latest",)]


@pytest.mark.services
async def test_a_suspected_server_that_still_answers_is_used_again_at_once(desk: Desk) -> None:
    async with serving("one:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        (model_id,) = hosts.models()
        visit(hosts).suspect()
        changes.happened.clear()
        await changes.next()
        assert hosts.models() == [model_id]


@pytest.mark.services
async def test_one_model_on_two_servers_is_one_model_with_the_slots_of_both(desk: Desk) -> None:
    async with (
        serving("one:latest") as first,
        serving("one:latest") as second,
        watching(desk, first.url, second.url) as (hosts, changes),
    ):
        while not hosts.models() or len(hosts.serving(hosts.models()[0])) < 2:
            await changes.next()
    assert desk.query("select count(distinct host_id), count(*) from private.slot") == [(2, 4)]
    assert desk.query("select count(*) from public.models") == [(1,)]


@pytest.mark.services
async def test_what_was_learnt_of_a_model_survives_a_change_of_others(desk: Desk) -> None:
    async with serving("one:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        (model_id,) = hosts.models()
        before = visit(hosts).model
        server.models.append("two:latest")
        host = hosts._hosts[0]
        host.suspected.set()
        await changes.next()
        after = hosts.visit(1, model_id, somebody())
        assert after is not None
        assert after.model is before
        assert len(hosts.models()) == 2


NONSENSE = {
    "a text for a list": b'{"models": "llama"}',
    "no list": b"{}",
    "an array": b'[{"name": "llama"}]',
    "null": b"null",
    "not a number": b"NaN",
    "html": b"<html>",
    "deep": b'{"models": ' + b"[" * 200_000,
    "much": b'{"models": [' + b'{"name": "llama", "digest": "sha"},' * 100_000 + b"{}]}",
    "no utf-8": b'{"models": [{"name": "\xff"}]}',
    "a long number": b'{"models": ' + b"9" * 10_000 + b"}",
}


@pytest.mark.services
@pytest.mark.parametrize("listing", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_from_one_server_makes_that_one_unusable_and_is_said(
    desk: Desk, listing: bytes
) -> None:
    async with serving("one:latest") as bad, serving("two:latest") as good:
        bad.listing = listing
        with capture_logs() as logs:
            async with watching(desk, bad.url, good.url) as (hosts, changes):
                while not hosts.models() or hosts._hosts[0].up is None:
                    await asyncio.sleep(0.005)
                assert desk.query("select name from public.models where available") == [("two:latest",)]
                bad.listing = b""  # it has come to its senses
                hosts._hosts[0].suspected.set()
                while len(hosts.models()) < 2:
                    await changes.next()
    (said,) = [line for line in logs if line["event"] == "host.cannot_be_used"]
    assert said["host"] == bad.url
    assert said["reason"]
    assert "host.not_recorded" not in [line["event"] for line in logs]


@pytest.mark.services
async def test_a_server_that_lists_ever_new_models_is_not_used(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.hosts.MOST_NAMES", 2)
    async with serving("one:latest", "two:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        server.models[:] = ["three:latest"]
        hosts._hosts[0].suspected.set()
        while hosts.models():
            await changes.next()
    assert desk.query("select count(*) from private.model") == [(2,)]


ODD = {
    "a text for capabilities": {"capabilities": "completion"},
    "a list for details": {"capabilities": ["completion"], "details": ["llama"]},
    "NUL": {"capabilities": ["completion\0"]},
}


@pytest.mark.services
@pytest.mark.parametrize("shown", ODD.values(), ids=ODD.keys())
async def test_a_model_that_tells_nonsense_is_skipped_and_the_others_are_served(
    desk: Desk, shown: dict[str, Any]
) -> None:
    async with serving("odd:latest", "good:latest", "a\0b", "\ud800") as server:
        server.shown["odd:latest"] = json.dumps(shown).encode()
        with capture_logs() as logs:
            async with watching(desk, server.url) as (hosts, changes):
                await changes.next()
                assert len(hosts.models()) == 1
    assert desk.query("select name from private.model") == [("good:latest",)]
    (said,) = [line for line in logs if line["event"] == "host.lists_nonsense"]
    assert said["count"] == 3


@pytest.mark.services
async def test_numbers_beyond_the_databases_are_kept_within_them(desk: Desk) -> None:
    info = {"general.architecture": "extractive", "extractive.context_length": 10**30}
    async with serving("one:latest") as server:
        server.shown["one:latest"] = json.dumps({"model_info": info}).encode()
        async with watching(desk, server.url) as (_, changes):
            await changes.next()
    assert desk.query("select context_tokens from public.models") == [(2**31 - 1,)]


OFFERED = "select name from public.models where available"


@asynccontextmanager
async def moved(desk: Desk, old: SmallServer, new: SmallServer) -> AsyncIterator[Hosts]:
    """Watching the new server, after others have watched the old one."""
    async with watching(desk, old.url) as (_, changes):
        await changes.next()
    async with watching(desk, new.url) as (hosts, changes):
        await changes.next()
        yield hosts


@pytest.mark.services
async def test_what_was_taken_out_of_the_settings_is_on_offer_no_longer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.hosts.SETTLED_SECONDS", 0.0)
    async with serving("old:latest") as old, serving("new:latest") as new, moved(desk, old, new) as hosts:
        desk.query("delete from private.worker where id = (select min(id) from private.worker) returning id")
        desk.query("update private.host_model set seen_at = now() - interval '2 min' returning 1")
        forgetting = asyncio.create_task(hosts.forget_others([new.url]))
        await desk.until("select from public.models where name = 'new:latest' and is_default")
        forgetting.cancel()
    assert desk.query(OFFERED) == [("new:latest",)]
    assert desk.query("select count(distinct host_id) from private.slot") == [(1,)]


@pytest.mark.services
async def test_after_an_outage_what_others_may_still_see_is_hidden_and_not_forgotten(desk: Desk) -> None:
    async with serving("old:latest") as old, serving("new:latest") as new, moved(desk, old, new) as hosts:
        desk.query("delete from private.worker where id = (select min(id) from private.worker) returning id")
        desk.query("update private.host_model set seen_at = now() - interval '2 min' returning 1")
        forgetting = asyncio.create_task(hosts.forget_others([new.url]))
        await desk.until("select from public.models where name = 'old:latest' and not available")
        forgetting.cancel()
    assert desk.query("select count(*) from private.host_model") == [(2,)]


@pytest.mark.services
@pytest.mark.parametrize(("age", "left"), [("1 s", 2), ("2 min", 2), ("2 h", 1)])
async def test_what_another_listener_may_have_in_its_settings_is_forgotten_later(
    desk: Desk, age: str, left: int
) -> None:
    async with serving("old:latest") as old, serving("new:latest") as new, moved(desk, old, new) as hosts:
        desk.query("update private.host_model set seen_at = now() - %s::interval returning 1", age)
        await hosts._forget_others([new.url], settled=True)
    assert desk.query("select count(*) from private.host_model") == [(left,)]
    assert len(desk.query(OFFERED)) == (2 if age == "1 s" else 1)


@pytest.mark.services
async def test_what_was_forgotten_in_an_outage_is_recorded_anew(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.model.hosts.SEEN_SECONDS", 0.0)
    async with serving("one:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        desk.query("delete from private.host_model returning host_id")
        hosts._hosts[0].suspected.set()
        await desk.until("select from public.models where available")


def level(server: SmallServer) -> float | None:
    return REGISTRY.get_sample_value("precis_breaker_state", {"host": server.url})


@pytest.mark.services
async def test_a_server_whose_calls_fail_is_not_used_and_then_by_one_call_at_a_time(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "jitter", lambda _openings: 0.05)
    async with serving("one:latest") as server, watching(desk, server.url) as (hosts, changes):
        await changes.next()
        (model_id,) = hosts.models()
        for _ in range(breaker.FAILED_REQUESTS):
            assert level(server) == 0
            visit(hosts).ended(Finding("failed"))
        assert level(server) == 2
        assert (hosts.models(), hosts.serving(model_id), hosts.visit(1, model_id, somebody())) == (
            [],
            [],
            None,
        )
        changes.happened.clear()
        await changes.next()  # its time is over
        assert level(server) == 1
        assert (hosts.serving(model_id), hosts.calls_allowed(model_id)) == ([1], {1: 1})
        trial = visit(hosts)
        assert (hosts.serving(model_id), hosts.calls_allowed(model_id)) == ([1], {})
        assert hosts.visit(1, model_id, somebody()) is None
        trial.ended(ANSWERED)
        assert (level(server), hosts.calls_allowed(model_id)) == (0, {1: ANY_NUMBER})


@pytest.mark.services
async def test_a_server_that_was_away_is_tried_as_soon_as_it_answers(
    desk: Desk, own_model_server: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker, "jitter", lambda _openings: 3600.0)
    async with watching(desk, own_model_server.url) as (hosts, changes):
        await changes.next()
        (model_id,) = hosts.models()
        own_model_server.part.stop()
        last = visit(hosts)
        last.suspect()
        await desk.until("select from public.models where not available")
        last.ended(Finding("busy"))
        own_model_server.part.start()
        while not hosts.models():
            await changes.next()
        assert hosts.calls_allowed(model_id) == {1: 1}
