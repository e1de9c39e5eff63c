"""The text so far of all running jobs of this process, written a few times a second in one statement.

A preview only: what cannot be written is tried again, and forgotten when its job ends. Knows jobs by
their claims.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from chassis.database import passing, refused, told
from listener.queue import jobs
from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claim, PartialText, Progress

LINGER_SECONDS = 0.03  # before the first piece: an answer that is whole by then needs no preview
TICK_SECONDS = 0.15
PROGRESS_SECONDS = 1.0  # between two updates of a job's row
TROUBLE_SECONDS = 1.0

PIECES = Counter("precis_partial_pieces_total", "Pieces of text so far that were written.")

log = structlog.get_logger()


@dataclass(slots=True)
class Preview:
    """One job's text that is not yet written."""

    claim: Claim
    texts: list[str] = field(default_factory=list)
    unsent: list[PartialText] = field(default_factory=list)
    n: int = 0
    share: float = 0.0
    shared: float = 0.0
    shared_at: float = float("-inf")

    def gather(self) -> list[PartialText]:
        """All text that waits, as pieces. One that failed keeps its number: if it was written after all, the
        same number says so."""
        if self.texts:
            self.unsent.append(PartialText(self.claim, self.n, "".join(self.texts)))
            self.texts.clear()
            self.n += 1
        return self.unsent

    def has_moved(self, now: float) -> bool:
        """Whether the progress is worth a write to the job's row."""
        return self.share > self.shared and now - self.shared_at >= PROGRESS_SECONDS


class Previews:
    """Jobs `open` a preview, add to it, and `close` it; `run` writes what has come together. The line should
    give up soon on a lock that somebody holds: whoever closes waits for what is being written."""

    def __init__(self, line: KeptConnection) -> None:
        self._line = line
        self._previews: dict[Claim, Preview] = {}
        self._something = asyncio.Event()
        self._writing = asyncio.Lock()

    def open(self, claim: Claim) -> Callable[[str, float], None]:
        """What a task calls with a piece of its text and how far it is."""
        preview = self._previews[claim] = Preview(claim)

        def emit(text: str, share: float) -> None:
            if text:
                preview.texts.append(text)
            preview.share = max(preview.share, share)
            self._something.set()

        return emit

    async def close(self, claim: Claim) -> None:
        """Nothing of the job is written after this: its end removes what was."""
        self._previews.pop(claim, None)
        async with self._writing:
            pass

    async def run(self) -> None:
        """Write for ever. The first piece almost at once, then one statement per tick for all jobs."""
        while True:
            await self._something.wait()
            await asyncio.sleep(LINGER_SECONDS)
            self._something.clear()
            async with self._writing:
                written = await self._write()
            await asyncio.sleep(TICK_SECONDS if written else TROUBLE_SECONDS)

    async def _write(self) -> bool:
        previews = sorted(self._previews.values(), key=lambda preview: preview.claim)
        try:
            await self._send(previews)
        except Exception as error:
            if not passing(error):
                raise
            log.warning("partials.not_written", error=told(error), previews=len(previews))
            self._something.set()
            if refused(error):
                await self._silence(previews)
            return False
        return True

    async def _silence(self, previews: Sequence[Preview]) -> None:
        """Leave out whose text the database does not take, so that the others' is still shown."""
        for preview in previews:
            try:
                await self._send([preview])
            except Exception as error:
                if not passing(error):
                    raise
                if refused(error):
                    self._previews.pop(preview.claim, None)

    async def _send(self, previews: Sequence[Preview]) -> None:
        now = asyncio.get_running_loop().time()
        pieces = [piece for preview in previews for piece in preview.gather()]
        moved = [preview for preview in previews if preview.has_moved(now)]
        steps = [Progress(preview.claim, preview.share) for preview in moved]
        if pieces or steps:
            await self._line.run(lambda connection: jobs.write_partials(connection, pieces, steps))
        PIECES.inc(len(pieces))
        for preview in previews:
            preview.unsent.clear()
        for preview in moved:
            preview.shared, preview.shared_at = preview.share, now
