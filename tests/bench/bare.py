"""The floor: the same hops as Precis makes, and none of its work. A process of its own, as its parts are.

python -m tests.bench.bare claim DATABASE_URL                 LISTEN, then one UPDATE .. SKIP LOCKED
python -m tests.bench.bare serve DATABASE_URL REST_URL PORT   LISTEN, GET through PostgREST, one SSE write
"""

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import asyncpg
from aiohttp import web

SCHEMA = """
create table private.bare_job (id int primary key, state text not null default 'ready');
create index bare_job_ready_idx on private.bare_job (id) where state = 'ready';
create function private.ring_bare_job() returns trigger language plpgsql as
  $$ begin perform pg_notify('bare_job', ''); return null; end $$;
create trigger bare_job_rings after insert on private.bare_job
  for each row execute function private.ring_bare_job();

create table public.bare (id uuid primary key default gen_random_uuid(), text text not null);
grant select, insert on public.bare to pgrest_auth;
create function public.ring_bare() returns trigger language plpgsql as
  $$ begin perform pg_notify('bare', new.id::text); return null; end $$;
create trigger bare_rings after insert on public.bare
  for each row execute function public.ring_bare();
notify pgrst, 'reload schema';
"""
CLAIM = """
update private.bare_job set state = 'running' where id =
  (select id from private.bare_job where state = 'ready' order by id limit 1 for no key update skip locked)
returning id
"""


async def claim(database_url: str) -> None:
    """Prints `id time` of every job when it has it, as a worker would start on it."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener("bare_job", lambda *notice: heard.put_nowait(notice[-1]))
    statement = await connection.prepare(CLAIM)
    await (
        statement.fetchval()
    )  # prepared only, the connection is in the middle of an exchange and hears nothing
    print("ready", flush=True)
    while True:
        await heard.get()
        while (taken := await statement.fetchval()) is not None:
            print(taken, time.time(), flush=True)


async def serve(database_url: str, rest_url: str, port: str) -> None:
    """GET /events, one stream at a time; its Authorization is used for the GET through PostgREST too."""
    heard: asyncio.Queue[str] = asyncio.Queue()
    connection = await asyncpg.connect(database_url)
    await connection.add_listener("bare", lambda *notice: heard.put_nowait(notice[-1]))
    async with aiohttp.ClientSession() as http:

        async def events(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"id: 0\ndata:\n\n")
            headers = {"Authorization": request.headers["Authorization"]}
            while True:
                row = await read(http, f"{rest_url}/bare?id=eq.{await heard.get()}", headers)
                await response.write(f"event: change\ndata: {json.dumps(row)}\n\n".encode())

        app = web.Application()
        app.router.add_get("/events", events)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(port)).start()
        print("ready", flush=True)
        await asyncio.Event().wait()


async def read(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> dict[str, Any]:
    async with http.get(url, headers=headers) as answer:
        return dict((await answer.json())[0])


if __name__ == "__main__":
    asyncio.run({"claim": claim, "serve": serve}[sys.argv[1]](*sys.argv[2:]))
