"""The floor: the same hops as Precis makes, and none of its work. A process of its own for each of its parts.

python -m tests.bench.bare claim DATABASE_URL                         LISTEN, one UPDATE .. SKIP LOCKED
python -m tests.bench.bare work DATABASE_URL MODEL_URL                the same, a model call, one more UPDATE
python -m tests.bench.bare model PORT [SECONDS] [SPREAD] [PLACES] [NAME ...]   answers then, as Ollama too
python -m tests.bench.bare serve DATABASE_URL REST_URL PORT CHANNEL   LISTEN, GET, one server-sent event
"""

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

# A queue; a table of the API whose rows are answered by themselves; and one that is a queue behind the API.
SCHEMA = """
create function public.ring_bare() returns trigger language plpgsql as
  $$ begin perform pg_notify(tg_argv[0], new.id::text); return null; end $$;

create table private.bare_job (id int primary key, state text not null default 'ready');
create index bare_job_ready_idx on private.bare_job (id) where state = 'ready';
create trigger rings after insert on private.bare_job
  for each row execute function public.ring_bare('bare_job');

create table public.bare_echo (id uuid primary key default gen_random_uuid(), text text not null);
create trigger rings after insert on public.bare_echo
  for each row execute function public.ring_bare('bare_echo');

create table public.bare_queue (
  id uuid primary key default gen_random_uuid(), text text not null, state text not null default 'ready',
  result text, n bigint generated always as identity);
create index bare_queue_ready_idx on public.bare_queue (n) where state = 'ready';
create trigger rings after insert on public.bare_queue
  for each row execute function public.ring_bare('bare_queue');
create trigger tells after update on public.bare_queue
  for each row when (new.state = 'done') execute function public.ring_bare('bare_done');

grant select, insert on public.bare_echo, public.bare_queue to pgrest_auth;
notify pgrst, 'reload schema';
"""
# The model that takes no time, and all it ever says.
INSTANT = "instant"
SHOWN = {
    "capabilities": ["completion"],
    "model_info": {"general.architecture": "bare", "bare.context_length": 8192},
}
FIRST_SENTENCE = re.compile(r"The harbour of port \d+ was closed for \d+ days\.")
CLAIM = """
update private.bare_job set state = 'running' where id =
  (select id from private.bare_job where state = 'ready' order by id limit 1 for no key update skip locked)
returning id
"""
CLAIM_QUEUED = """
update public.bare_queue set state = 'running' where id =
  (select id from public.bare_queue where state = 'ready' order by n limit 1 for no key update skip locked)
returning id, text
"""
FINISH_QUEUED = "update public.bare_queue set state = 'done', result = $2 where id = $1"


async def claim(database_url: str) -> None:
    """Prints `id time` of every job when it has it, as a worker would start on it."""
    connection, heard = await listen(database_url, "bare_job")
    ready()
    while True:
        await heard.get()
        while (taken := await connection.fetchval(CLAIM)) is not None:
            print(taken, time.time(), flush=True)


async def work(database_url: str, model_url: str) -> None:
    """A worker without a task: claim, ask, finish."""
    connection, heard = await listen(database_url, "bare_queue")
    async with aiohttp.ClientSession() as http:
        ready()
        while True:
            await heard.get()
            while row := await connection.fetchrow(CLAIM_QUEUED):
                async with http.post(model_url, json={"text": row["text"]}) as answer:
                    result = (await answer.json())["text"]
                await connection.execute(FINISH_QUEUED, row["id"], result)


async def model(port: str, seconds: str = "0", spread: str = "0", places: str = "0", *names: str) -> None:
    """A model server that takes so long, up to such a share more or less: at / as plain as can be, and behind
    Ollama's interface. There it works on so many calls at once, on all of them if 0; others wait in line.

    GET /calls tells of each call through that interface when it began and when it had been answered.
    """
    calls: list[tuple[float, float]] = []
    free = asyncio.Semaphore(int(places)) if int(places) else nullcontext()

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"text": (await request.json())["text"]})

    async def chat(request: web.Request) -> web.StreamResponse:
        async with free:
            begun_at = time.time()
            said = FIRST_SENTENCE.findall(await request.text())[-1]
            await asyncio.sleep(float(seconds) * random.uniform(1 - float(spread), 1 + float(spread)))
            message = {"role": "assistant", "content": said}
            records = [
                {"model": INSTANT, "message": message, "done": False},
                {"model": INSTANT, "message": message | {"content": ""}, "done": True, "done_reason": "stop",
                 "prompt_eval_count": 300, "eval_count": 12},
            ]  # fmt: skip
            lines = "".join(json.dumps(record) + "\n" for record in records)
            answer = web.Response(text=lines, content_type="application/x-ndjson")
            await answer.prepare(request)
            await answer.write_eof()
            calls.append((begun_at, time.time()))
        return answer

    async def tell_calls(_request: web.Request) -> web.Response:
        return web.json_response(calls)

    await serve_at(
        port,
        web.post("/", answer),
        web.get("/calls", tell_calls),
        web.post("/api/chat", chat),
        web.get("/api/version", always({"version": "0.0.0"})),
        web.get("/api/tags", always({"models": list(map(served, names or (INSTANT,)))})),
        web.post("/api/show", always(SHOWN)),
    )


def served(name: str) -> dict[str, str]:
    return {"name": name, "model": name, "digest": "0" * 64}


def always(value: object) -> Callable[[web.Request], Coroutine[Any, Any, web.Response]]:
    async def told(_request: web.Request) -> web.Response:
        return web.json_response(value)

    return told


async def serve(database_url: str, rest_url: str, port: str, channel: str) -> None:
    """GET /events, one stream at a time; its Authorization is used for the GET through PostgREST too."""
    _, heard = await listen(database_url, channel)
    table = {"bare_echo": "bare_echo", "bare_done": "bare_queue"}[channel]
    async with aiohttp.ClientSession() as http:

        async def events(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"id: 0\ndata:\n\n")
            headers = {"Authorization": request.headers["Authorization"]}
            while True:
                row = await read(http, f"{rest_url}/{table}?id=eq.{await heard.get()}", headers)
                await response.write(f"event: change\ndata: {json.dumps(row)}\n\n".encode())

        await serve_at(port, web.get("/events", events))


async def read(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> dict[str, Any]:
    async with http.get(url, headers=headers) as answer:
        return dict((await answer.json())[0])


async def listen(database_url: str, channel: str) -> tuple[asyncpg.Connection, asyncio.Queue[str]]:
    heard: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener(channel, lambda *notice: heard.put_nowait(notice[-1]))
    return connection, heard


async def serve_at(port: str, *routes: web.RouteDef) -> None:
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    ready()
    await asyncio.Event().wait()


def ready() -> None:
    print("ready", flush=True)


COMMANDS: dict[str, Callable[..., Coroutine[Any, Any, None]]] = {
    "claim": claim,
    "work": work,
    "model": model,
    "serve": serve,
}

if __name__ == "__main__":
    asyncio.run(COMMANDS[sys.argv[1]](*sys.argv[2:]))
