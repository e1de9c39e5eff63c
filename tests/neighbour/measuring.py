"""One scenario: B alone, B beside A, and what is to be said of it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field

from precis.stack.process import LEASH

from tests.bench.figures import quantile
from tests.fix_postgres import ROOT
from tests.neighbour.aggressor import Where
from tests.neighbour.ground import Ground
from tests.neighbour.model_server import CALL_SECONDS, MODEL
from tests.neighbour.pulse import pulse
from tests.neighbour.scenarios import Scenario
from tests.neighbour.steady import NEVER, Steady
from tests.stack.client import Client

ENDING_SECONDS = 40.0
LONGEST = """
select max(extract(epoch from ended_at - claimed_at))::float8 from private.attempt where owner = $1
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long B sends alone and beside A, and how long its last rows are waited for."""

    alone_seconds: float
    beside_seconds: float
    patience_seconds: float


@dataclass(slots=True)
class Line:
    """What one scenario did. Waits in seconds, `call` for one model call of A's to end; `answers` are A's,
    `refusals` B's, counted by status."""

    scenario: Scenario
    alone: Sequence[float]
    beside: Sequence[float]
    silence: float
    call: float = CALL_SECONDS
    answers: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)

    @property
    def limit(self) -> float:
        return 2 * quantile(self.alone, 0.95) + self.call

    @property
    def is_ok(self) -> bool:
        """B is as well as the issue wants it."""
        return quantile(self.beside, 0.95) <= self.limit and self.is_telling

    @property
    def is_telling(self) -> bool:
        """Whether B was well alone, and A did what there was to do."""
        did = not self.scenario.needs_success or any(status.startswith("2") for status in self.answers)
        return did and bool(self.answers) and max(self.alone) < NEVER


async def measure(ground: Ground, scenario: Scenario, pace: Pace) -> Line:
    """B is somebody new each time, and so is A."""
    await ground.anew()
    async with ground.stack.sign_up() as person, ground.stack.sign_up() as other:
        b = Steady(ground, person, await _account(ground, person), scenario.model)
        await b.waits(await b.send(1.0), patience_seconds=pace.patience_seconds)  # the first is always late
        alone = await b.waits(await b.send(pace.alone_seconds), patience_seconds=pace.patience_seconds)
        addresses = [worker.part.health for worker in ground.workers]
        async with pulse(addresses) as felt, _aggressor(ground, scenario, other) as answers:
            sent = await b.send(pace.beside_seconds)
            beside = await b.waits(sent, patience_seconds=pace.patience_seconds)
        call = await _longest_call(ground, scenario, await _account(ground, other))
    return Line(scenario, alone, beside, felt.worst, call, answers, dict(b.refusals))


async def _longest_call(ground: Ground, scenario: Scenario, account: str) -> float:
    """Whoever finds all slots taken waits for one call: the engine's last as long as their texts want."""
    if scenario.model == MODEL:
        return CALL_SECONDS
    return max(CALL_SECONDS, await ground.postgres.fetchval(LONGEST, account) or 0.0)


async def _account(ground: Ground, person: Client) -> str:
    statement = "select id from private.account where email = $1"
    return str(await ground.postgres.fetchval(statement, person.email))


@contextlib.asynccontextmanager
async def _aggressor(ground: Ground, scenario: Scenario, person: Client) -> AsyncIterator[dict[str, int]]:
    """A at work until the end of the block; then its answers are there."""
    leash = (sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGTERM)), "-")
    process = await asyncio.create_subprocess_exec(
        *leash, sys.executable, "-m", "tests.neighbour.aggressor", scenario.name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    stack = ground.stack
    where = Where(
        stack.url("postgrest"), stack.url("authsvc"), stack.url("events"), str(person.token), scenario.model
    )
    assert process.stdin
    assert process.stdout
    answers: dict[str, int] = {}
    try:
        process.stdin.write(json.dumps(asdict(where)).encode() + b"\n")
        assert await process.stdout.readline() == b"began\n", "A has come to grief"
        yield answers
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        answers |= json.loads(await asyncio.wait_for(process.stdout.readline(), ENDING_SECONDS))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
