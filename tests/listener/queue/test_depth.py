"""What the metrics tell of the queue, and that every metric of the worker is explained to operators."""

import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from prometheus_client import REGISTRY

from listener.queue import depth
from listener.queue.depth import Depth, count, count_rings
from listener.work import gauges
from listener.work.gauges import QueueGauges
from tests.fix_postgres import ROOT
from tests.fix_work import Desk
from tests.listener.model.small_server import serving

QUICK = "Short."  # is its own summary: no model call
TOMORROW = datetime.now(UTC) + timedelta(days=1)
DONE = "select from private.job where request_id = %s and state = 'done'"


@asynccontextmanager
async def reading(desk: Desk) -> AsyncIterator[QueueGauges]:
    async with desk.statements() as pool:
        yield QueueGauges(pool)


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.mark.services
async def test_jobs_are_counted_by_model_and_state(desk: Desk) -> None:
    model, _ = await desk.model("busy:latest"), await desk.model("idle:latest")
    worker = await desk.worker(model)
    person = desk.person()
    desk.ask_many(person, 6)
    desk.ask(person, run_at=TOMORROW)
    done, _running = await worker.claim(model, free=2)
    await worker.finish(done)
    desk.query(
        "update private.job set state = 'failed', error_code = 'x', finished_at = now()"
        " where id = (select max(id) from private.job where state = 'ready' and run_at is null) returning id"
    )
    depths = {each.model: each for each in await count(worker.connection)}
    busy = depths["busy:latest"]
    assert (busy.ready, busy.scheduled, busy.running) == (3, 1, 1)
    assert (busy.done, busy.failed, busy.cancelled) == (1, 1, 0)
    assert depths["idle:latest"] == Depth("idle:latest", 0, 0, 0, 0, 0, 0, 0.0, False)


@pytest.mark.services
async def test_what_ended_more_than_a_day_ago_is_not_counted(desk: Desk) -> None:
    await desk.model()
    desk.ask_many(desk.person(), 2)
    desk.query(
        "update private.job set state = 'cancelled', finished_at = now() - id * interval '20 h' returning id"
    )
    (found,) = await count(await desk.connect())
    assert found.cancelled == 1


@pytest.mark.services
async def test_the_age_is_that_of_the_job_that_is_next(desk: Desk) -> None:
    await desk.model()
    first, second = desk.ask_many(desk.person(), 2)
    for request, seconds in ((first, 60), (second, 3600)):
        desk.query(
            "update private.job set updated_at = now() - make_interval(secs => %s) where request_id = %s"
            " returning id",
            seconds,
            request,
        )
    (found,) = await count(await desk.connect())
    assert found.next_age_seconds == pytest.approx(60, abs=10)


@pytest.mark.services
async def test_counts_end_at_their_caps(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depth, "MOST_READY", 2)
    monkeypatch.setattr(depth, "MOST_OTHERS", 1)
    await desk.model()
    person = desk.person()
    desk.ask_many(person, 3)
    desk.ask_many(person, 2, run_at=TOMORROW)
    (found,) = await count(await desk.connect())
    assert (found.ready, found.scheduled) == (2, 1)


@pytest.mark.services
async def test_every_count_walks_an_index(desk: Desk) -> None:
    plan = "\n".join(
        row[0]
        for row in await (await desk.connect()).fetch(
            "explain " + depth.COUNT, depth.MOST_READY, depth.MOST_OTHERS
        )
    )
    scans = re.findall(r"(\w+ Scan(?: Backward)?) (?:using (\w+) )?on job", plan)
    assert sorted(index for _, index in scans) == [
        "job_due_idx", "job_finished_at_idx", "job_ready_idx", "job_ready_idx", "job_worker_idx",
    ]  # fmt: skip
    assert "Index Cond: (finished_at >" in plan


@pytest.mark.services
async def test_a_pause_shows(desk: Desk) -> None:
    await desk.model("one:latest")
    connection = await desk.connect()
    assert ((await count_rings(connection))[1], (await count(connection))[0].paused) == (False, False)
    desk.query("select private.pause(), private.pause('one:latest')")
    assert ((await count_rings(connection))[1], (await count(connection))[0].paused) == (True, True)


@pytest.mark.services
async def test_rings_are_counted_by_the_database(desk: Desk) -> None:
    async with serving("one:latest") as server, desk.working(server.url):
        (before, _) = await count_rings(connection := await desk.connect())
        for _ in range(5):
            await desk.until(DONE, desk.ask(desk.person(), QUICK))
        (after, _) = await count_rings(connection)
    assert 0 < after - before <= 10


@pytest.mark.services
async def test_a_reading_sets_the_gauges_and_is_fresh_for_a_while(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.model("one:latest")
    person = desk.person()
    async with reading(desk) as made:
        desk.ask(person)
        await made.read()
        assert value("precis_queue_jobs", model="one:latest", state="ready") == 1
        assert value("precis_queue_paused") == 0
        assert (value("precis_queue_read_timestamp_seconds") or 0) == pytest.approx(time.time(), abs=10)
        desk.ask(person)
        await made.read()
        assert value("precis_queue_jobs", model="one:latest", state="ready") == 1
        monkeypatch.setattr(gauges, "FRESH_SECONDS", 0.0)
        await made.read()
        assert value("precis_queue_jobs", model="one:latest", state="ready") == 2


@pytest.mark.services
async def test_a_worker_reads_them_when_it_is_scraped_and_only_then(desk: Desk) -> None:
    settings = desk.settings()
    async with (
        serving("scraped:latest") as server,
        desk.working(server.url, admin_listen=settings.admin_listen),
        aiohttp.ClientSession(f"http://{settings.admin_listen}") as session,
    ):
        assert value("precis_queue_jobs", model="scraped:latest", state="ready") is None
        async with session.get("/metrics") as answer:
            page = await answer.text()
    assert 'precis_queue_jobs{model="scraped:latest",state="ready"} 0.0' in page


def test_every_metric_of_the_worker_is_explained_to_operators() -> None:
    rooms = ("chassis", "listener/work", "listener/queue", "listener/model", "listener/offload")
    sources = [file for room in rooms for file in (ROOT / room).glob("*.py")]
    names = {
        name
        for file in sources
        for name in re.findall(r'"(precis_[a-z_]+)"', file.read_text(encoding="utf-8"))
    } - {"precis_bell", "precis_control"}
    text = (ROOT / "deploy/README.md").read_text(encoding="utf-8")
    assert len(names) > 30
    assert {name for name in names if not re.search(rf"`{name}[`{{]", text)} == set()
