"""Which model servers answer and what they serve, as the database and the worker learn it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY

from listener import breaker
from listener.hosts import Hosts, Listed, Visit, Wishes, read_listed
from listener.model import Patience
from tests.fix_engine import ModelServer
from tests.fix_work import Desk
from tests.listener.small_server import SmallServer, serving


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
        wishes = Wishes(2, default, 4096, "5m", Patience(5, 5))
        hosts = Hosts(pool, wishes, claimant=lambda: worker.claimant, changed=changes.happened.set)
        tasks = [asyncio.create_task(hosts.watch(url)) for url in urls]
        try:
            yield hosts, changes
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def visit(hosts: Hosts) -> Visit:
    """A use of the only host by its first model."""
    made = hosts.visit(1, hosts.models()[0])
    assert made is not None
    return made


@pytest.mark.services
async def test_the_built_in_engine_is_announced_as_what_it_is(desk: Desk, model_server: ModelServer) -> None:
    async with watching(desk, model_server.url) as (hosts, changes):
        await changes.next()
        assert hosts.answering
        (model_id,) = hosts.models()
        (host_id,) = hosts.serving(model_id)
        visit = hosts.visit(host_id, model_id)
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
        served = [model_id for model_id in hosts.models() if hosts.visit(1, model_id)]
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
        after = hosts.visit(1, model_id)
        assert after is not None
        assert after.model is before
        assert len(hosts.models()) == 2


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
        for _ in range(breaker.FAILURES_IN_A_ROW):
            assert level(server) == 0
            visit(hosts).ended("failed")
        assert level(server) == 2
        assert (hosts.models(), hosts.serving(model_id), hosts.visit(1, model_id)) == ([], [], None)
        changes.happened.clear()
        await changes.next()  # its time is over
        assert level(server) == 1
        assert (hosts.serving(model_id), hosts.trusted(model_id), hosts.on_trial(model_id)) == ([1], [], [1])
        trial = visit(hosts)
        assert (hosts.serving(model_id), hosts.on_trial(model_id)) == ([1], [])
        assert hosts.visit(1, model_id) is None
        trial.ended("answered")
        assert (level(server), hosts.trusted(model_id)) == (0, [1])


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
        last.ended("busy")
        own_model_server.part.start()
        while not hosts.models():
            await changes.next()
        assert hosts.on_trial(model_id) == [1]


def shown(**more: Any) -> dict[str, Any]:
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    return {"capabilities": ["completion"], "details": {"family": "llama"}, "model_info": info} | more


def test_a_language_model_is_asked_for_no_more_context_than_configured_or_trained() -> None:
    assert read_listed("sha", shown(), context_tokens=8192) == Listed("sha", "llama", 8192, ("completion",))
    small = shown(model_info={"general.architecture": "llama", "llama.context_length": 2048})
    assert read_listed("sha", small, context_tokens=8192) == Listed("sha", "llama", 2048, ("completion",))


def test_a_model_that_cannot_write_or_runs_elsewhere_is_not_used() -> None:
    assert read_listed("sha", shown(capabilities=["embedding"]), context_tokens=8192) is None
    assert read_listed("sha", shown(remote_host="https://elsewhere"), context_tokens=8192) is None


def test_an_old_server_that_tells_nothing_of_abilities_is_believed() -> None:
    listed = read_listed("sha", {"details": None, "model_info": None}, context_tokens=8192)
    assert listed == Listed("sha", "", 8192, ())
