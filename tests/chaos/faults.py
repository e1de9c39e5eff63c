"""The faults: each does its harm for a while, mends it, and tells how often it struck. One at a time."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass

import asyncpg

from tests.chaos.model_server import FAULTS as MODEL_FAULTS
from tests.chaos.proxy import Fate
from tests.chaos.scene import NAME, Scene

TERMINATIONS_PER_SECOND = 5
KILL_PAUSE_SECONDS = 2.0  # a worker needs as long again to start
SLOW_SECONDS = 0.2
OPENING_AT_ONCE = 20
BEFORE_SECONDS = 1.0  # until some calls that take long are under way
LOOK_SECONDS = 0.1
PATIENCE_SECONDS = 20.0
CANCELLED, DEADLOCK = "canceling statement due to", "deadlock detected"
FINISH, CLAIM = "insert into private.result", "private.deal_turns("
TERMINATE = """
select pg_terminate_backend(pid) from pg_stat_activity
 where datname = current_database() and application_name <> $1 and backend_type = 'client backend'
   and ($2 = '' or usename = $2)
 order by random() limit $3
"""
HOLDS_A_LEASE = "select count(*) from private.worker where name like $1 and lease_until > '-infinity'"
HASTE = "alter role listener in database chaos set {} = '{}'"
CALM = "alter role listener in database chaos reset all"
LOCK_OWNERS = "select from private.event_cursor for no key update"
LOCK_JOBS = "select from private.job where state = 'running' order by id for no key update"


@dataclass(frozen=True, slots=True)
class Dose:
    """How much of a fault: for how long, and of how many connections where these are its matter."""

    seconds: float
    connections: int = 0


Fault = Callable[[Scene, Dose], Awaitable[int]]


async def kill(scene: Scene, dose: Dose) -> int:
    """SIGKILL a worker, start it again, and so on."""
    until, struck = time.monotonic() + dose.seconds, 0
    while time.monotonic() < until:
        worker = scene.chance.choice(scene.workers)
        worker.kill()
        struck += 1
        await worker.start()
        await asyncio.sleep(KILL_PAUSE_SECONDS)
    return struck


async def freeze(scene: Scene, dose: Dose) -> int:
    """SIGSTOP a worker until others have taken its lease and its work. A little later it wakes."""
    worker = scene.chance.choice(scene.workers)
    with _long_calls(scene):
        await asyncio.sleep(BEFORE_SECONDS)
        async with worker.freezing(), scene.session() as connection:
            while await connection.fetchval(HOLDS_A_LEASE, f"%:{worker.part.pid}"):
                await asyncio.sleep(LOOK_SECONDS)
            await asyncio.sleep(dose.seconds)
    return 1


async def restart_postgres(scene: Scene, dose: Dose) -> int:
    """As after a crash: nothing was written at the end, and it takes a while until it is back."""
    await asyncio.to_thread(scene.cluster.stop, "immediate")
    await asyncio.sleep(dose.seconds)
    await asyncio.to_thread(scene.cluster.start)
    return 1


async def terminate(scene: Scene, dose: Dose) -> int:
    """pg_terminate_backend, at whoever is connected."""
    struck = 0
    async with scene.session() as connection:
        for _ in range(int(dose.seconds * TERMINATIONS_PER_SECOND)):
            struck += len(await connection.fetch(TERMINATE, NAME, "", 1))
            await asyncio.sleep(1 / TERMINATIONS_PER_SECOND)
    return struck


async def crowd(scene: Scene, dose: Dose) -> int:
    """Idle connections."""
    async with contextlib.AsyncExitStack() as held:
        for _ in range(dose.connections // OPENING_AT_ONCE):
            opening = (held.enter_async_context(scene.session()) for _ in range(OPENING_AT_ONCE))
            await asyncio.gather(*opening)
        await asyncio.sleep(dose.seconds)
    return dose.connections


async def deafen(scene: Scene, dose: Dose) -> int:
    """One worker's LISTEN connection goes dark; it looks alive from both ends."""
    proxy = scene.chance.choice(scene.proxies)
    before = proxy.struck
    with proxy.dark("-notices"):
        return await _until_struck(dose, lambda: proxy.struck - before)


async def darken(scene: Scene, dose: Dose) -> int:
    """No byte passes between one worker and Postgres."""
    proxy = scene.chance.choice(scene.proxies)
    before = proxy.struck
    with _long_calls(scene):
        await asyncio.sleep(BEFORE_SECONDS)
        with proxy.dark():
            await asyncio.sleep(dose.seconds)
    return proxy.struck - before


async def sever(scene: Scene, dose: Dose) -> int:
    """One worker is refused by the network; Postgres sees it go."""
    proxy = scene.chance.choice(scene.proxies)
    before = proxy.struck
    with _long_calls(scene):
        await asyncio.sleep(BEFORE_SECONDS)
        with proxy.severed():
            await asyncio.sleep(dose.seconds)
    return proxy.struck - before


def _long_calls(scene: Scene) -> contextlib.AbstractContextManager[None]:
    """Some calls last longer than it takes to be thought dead: only who ends them in time keeps the limit."""
    return scene.models.misbehaving("long", share=0.3)


async def slow_down(scene: Scene, dose: Dose) -> int:
    """The network takes its time, for all workers behind it."""
    before = sum(proxy.struck for proxy in scene.proxies)
    with ExitStack() as all_of_them:
        for proxy in scene.proxies:
            all_of_them.enter_context(proxy.slow(SLOW_SECONDS))
        return await _until_struck(dose, lambda: sum(proxy.struck for proxy in scene.proxies) - before)


async def tear_finish(scene: Scene, dose: Dose) -> int:
    """The connection breaks while a result is being committed: ambiguous."""
    return await _tear(scene, dose, FINISH)


async def tear_claim(scene: Scene, dose: Dose) -> int:
    """The connection breaks while a claim is being committed: jobs that nobody knows to be theirs."""
    return await _tear(scene, dose, CLAIM)


async def _tear(scene: Scene, dose: Dose, statement: str) -> int:
    fates: tuple[Fate, ...] = ("passes", "passes", "unknown", "committed")
    before = sum(proxy.struck for proxy in scene.proxies)
    with ExitStack() as all_of_them:
        for proxy in scene.proxies:
            all_of_them.enter_context(proxy.torn(statement, lambda: scene.chance.choice(fates)))
        return await _until_struck(dose, lambda: sum(proxy.struck for proxy in scene.proxies) - before)


async def _until_struck(dose: Dose, struck: Callable[[], int]) -> int:
    """For as long as the dose says, and on a busy machine until it has struck at all."""
    await asyncio.sleep(dose.seconds)
    until = time.monotonic() + PATIENCE_SECONDS
    while not struck() and time.monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
    return struck()


async def spoil_models(scene: Scene, dose: Dose) -> int:
    """The model server misbehaves in every way it knows, at every third call."""
    before = scene.models.struck
    with scene.models.misbehaving(*(fault for fault in MODEL_FAULTS if fault != "gone"), share=0.3):
        return await _until_struck(dose, lambda: scene.models.struck - before)


async def take_models_away(scene: Scene, dose: Dose) -> int:
    """Nobody answers at the model server's address."""
    before = scene.models.struck
    with scene.models.misbehaving("gone", share=1.0):
        return await _until_struck(dose, lambda: scene.models.struck - before)


async def hurry(scene: Scene, dose: Dose) -> int:
    """Workers' statements end after a moment, and somebody holds the rows that they need."""
    before = scene.complaints(CANCELLED)
    async with scene.session() as connection:
        for name, limit in (("statement_timeout", "60ms"), ("lock_timeout", "30ms")):
            await connection.execute(HASTE.format(name, limit))
        try:
            await connection.fetch(TERMINATE, NAME, "listener", 1000)  # new connections take it up
            return await _hold_owners(connection, dose, lambda: scene.complaints(CANCELLED) - before)
        finally:
            await connection.execute(CALM)
            await connection.fetch(TERMINATE, NAME, "listener", 1000)


async def _hold_owners(
    connection: "asyncpg.Connection[asyncpg.Record]", dose: Dose, struck: Callable[[], int]
) -> int:
    until = time.monotonic() + dose.seconds
    while time.monotonic() < until or (not struck() and time.monotonic() < until + PATIENCE_SECONDS):
        async with connection.transaction():
            await connection.execute(LOCK_OWNERS)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.2)
    return struck()


async def deadlock(scene: Scene, dose: Dose) -> int:
    """A second session locks what workers lock, in the other order."""
    before, until = scene.complaints(DEADLOCK), time.monotonic() + dose.seconds
    async with scene.session() as connection:
        while time.monotonic() < until or (
            scene.complaints(DEADLOCK) == before and time.monotonic() < until + PATIENCE_SECONDS
        ):
            with contextlib.suppress(asyncpg.DeadlockDetectedError):
                async with connection.transaction():
                    await connection.execute(LOCK_OWNERS)
                    await asyncio.sleep(0.2)  # workers lock a job, and wait for its owner
                    await connection.execute(LOCK_JOBS)
            await asyncio.sleep(0.1)
    return scene.complaints(DEADLOCK) - before


async def restart_postgrest(scene: Scene, _dose: Dose) -> int:
    """The API goes away and comes back."""
    postgrest = scene.stack.parts["postgrest"]
    await asyncio.to_thread(postgrest.stop)
    postgrest.start()
    await asyncio.to_thread(postgrest.wait_ready)
    return 1


FAULTS: dict[str, Fault] = {
    "kill": kill,
    "freeze": freeze,
    "restart-postgres": restart_postgres,
    "terminate": terminate,
    "crowd": crowd,
    "deafen": deafen,
    "darken": darken,
    "sever": sever,
    "slow-down": slow_down,
    "tear-finish": tear_finish,
    "tear-claim": tear_claim,
    "spoil-models": spoil_models,
    "take-models-away": take_models_away,
    "hurry": hurry,
    "deadlock": deadlock,
    "restart-postgrest": restart_postgrest,
}
