"""A run: people ask all the time, one fault after the other strikes, in the end everything comes to rest and
is judged.

Throughput is the rate of accepted results in a calm time before a fault and in one after it, once it has
recovered.
"""

import asyncio
import bisect
import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tests.chaos import crew, evidence
from tests.chaos.evidence import Evidence
from tests.chaos.faults import FAULTS, Dose
from tests.chaos.invariants import Violation, violations
from tests.chaos.scene import COUNT_WAITING, Scene

RATE_SECONDS = 3.0  # recovered: for so long
RECOVERED_SHARE = 0.9  # at this share of the rate before
REST_SECONDS = 120.0  # the longest back-off is 60 s
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """How long it is calm around each fault, and how long a recovery may take."""

    calm_seconds: float
    patience_seconds: float


@dataclass(frozen=True, slots=True)
class Window:
    """From then to then, in seconds since the epoch."""

    began: float
    ended: float

    def rate(self, moments: Sequence[float]) -> float:
        """Of sorted moments, how many a second."""
        inside = bisect.bisect(moments, self.ended) - bisect.bisect(moments, self.began)
        return inside / (self.ended - self.began)


@dataclass(frozen=True, slots=True)
class Spell:
    """One fault, and the calm before and after it. `recovered_at` is None if it was not waited for."""

    fault: str
    struck: int
    before: Window
    during: Window
    after: Window
    recovered_at: float | None


@dataclass
class Run:
    """`play` some faults, `rest`, and look at `spells` and `evidence`."""

    scene: Scene
    pace: Pace
    spells: list[Spell] = field(default_factory=list)
    trouble: list[Violation] = field(default_factory=list)

    async def play(self, plan: Iterable[tuple[str, Dose]]) -> Evidence:
        """The whole run; what is known after it."""
        async with asyncio.TaskGroup() as group:
            counting = group.create_task(self.scene.count_waiting(), name="count waiting")
            asking = group.create_task(self.scene.producers.run(), name="producers")
            before = await self._calm()
            for name, dose in plan:
                before = await self._strike(name, dose, before)
            self.scene.producers.stop()
            await asking
            await self._rest()
            counting.cancel()
        found = await evidence.gather(self.scene)
        self.trouble += [*violations(found), *await self._stop()]
        return found

    async def _strike(self, name: str, dose: Dose, before: Window) -> Window:
        """One fault; the calm time after it."""
        began = time.time()
        self.scene.producers.fault = name
        struck = await FAULTS[name](self.scene, dose)
        during = Window(began, time.time())
        recovered_at = await self._recover(during.ended, before)
        after = await self._calm()
        self.spells.append(Spell(name, struck, before, during, after, recovered_at))
        return after

    async def _calm(self) -> Window:
        began = time.time()
        await asyncio.sleep(self.pace.calm_seconds)
        return Window(began, time.time())

    async def _recover(self, since: float, before: Window) -> float | None:
        """When model calls came to their end as often as before."""
        calls = sorted(call.ended for call in self.scene.models.calls if call.whole)
        wanted = RECOVERED_SHARE * RATE_SECONDS * before.rate(calls)
        while time.time() < since + self.pace.patience_seconds:
            beginning = max(since, time.time() - RATE_SECONDS)
            if self.scene.models.done_since(beginning) >= wanted:
                return beginning
            await asyncio.sleep(LOOK_SECONDS)
        return None

    async def _rest(self) -> None:
        """Until nothing waits and nothing runs. What does not come to rest is found by the invariants."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS), self.scene.session() as connection:
                while await connection.fetchval(COUNT_WAITING) or self._calling():
                    await asyncio.sleep(LOOK_SECONDS)

    def _calling(self) -> bool:
        return any(call.ended == float("inf") for call in self.scene.models.calls[-1000:])

    async def _stop(self) -> list[Violation]:
        """No process has ended by itself, and each leaves in order."""
        processes = [worker.part for worker in self.scene.workers]
        ended = [process for process in processes if process.code is not None]
        await crew.stop(self.scene.workers)
        found = [f"{process.name} ended with {process.code} by itself" for process in ended]
        found += [f"{process.name} left with {process.code}" for process in processes
                  if process not in ended and process.code != 0]  # fmt: skip
        return [Violation("process", text) for text in found]
