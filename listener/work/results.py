"""Writes results that come together in one statement: while one is on its way, the next ones gather.

Nobody waits otherwise, and not long for anybody's lock: what does not go together is to go alone. Knows no
model and no policy.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from chassis.database import passing
from listener.queue import jobs
from listener.queue.connection import KeptConnection
from listener.queue.jobs import Claim, Finished


@dataclass(slots=True)
class _Batch:
    """Rows that go together; once `written`, the jobs that were still ours, None if it failed for all."""

    rows: list[Finished] = field(default_factory=list)
    written: bool = False
    accepted: frozenset[int] | None = None


class ResultWriter:
    """`finish` each job when its result is there. The line should give up soon on a lock that somebody holds:
    an owner's long transaction is no reason for another's result to wait."""

    def __init__(self, line: KeptConnection) -> None:
        self._line = line
        self._turn = asyncio.Lock()  # first come, first served
        self._gathering = _Batch()

    async def finish(self, claim: Claim, *, body: str, checks: Any, engine: Any) -> bool | None:
        """Whether the job was still ours; None if it must go alone, and may have been written now."""
        batch = self._gathering
        batch.rows.append(Finished(claim, body, json.dumps(checks), json.dumps(engine)))
        async with self._turn:
            if not batch.written:  # the first of them to get here; or the next, if that one was cancelled
                if batch is self._gathering:
                    self._gathering = _Batch()
                batch.accepted = await self._write(batch.rows)
                batch.written = True
        return None if batch.accepted is None else claim.job_id in batch.accepted

    async def _write(self, rows: list[Finished]) -> frozenset[int] | None:
        try:
            return await self._line.run(lambda connection: jobs.finish(connection, rows))
        except Exception as error:
            # One row that the database refuses is told as its own when it goes alone.
            if not passing(error):
                raise
            return None
