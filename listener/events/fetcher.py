"""Reads dirty audiences, one at a time, and hands each stream what is new.

Several run at once; the hub sees to it that no audience is read by two of them.
"""

import asyncio
from typing import Final

import structlog

from chassis.backoff import Backoff
from chassis.database import connection_lost, passing, told
from listener.events import frames
from listener.events.hub import Hub, Turn
from listener.events.reader import READ_MAX_PIECES, Reader, RefusedError
from listener.events.stream import Ending

FETCHERS: Final = 4
RETRY_BASE_SECONDS: Final = 0.1
RETRY_CAP_SECONDS: Final = 5.0
ERROR_RETRY_MILLISECONDS: Final = 10_000

log = structlog.get_logger()


async def fetch(hub: Hub, reader: Reader) -> None:
    """Read for ever. A lost database is waited for; a read that fails otherwise ends its own streams only."""
    delays = Backoff(base=RETRY_BASE_SECONDS, cap=RETRY_CAP_SECONDS)
    while True:
        async with hub.turn() as turn:
            try:
                await _serve(turn, hub, reader)
                delays.reset()
            except RefusedError as error:
                _end(turn, _refused(error))
            except Exception as error:
                if connection_lost(error):
                    hub.soil(turn.audience, partials=True)
                    await asyncio.sleep(delays.next())
                elif passing(error):
                    log.error("stream.read_failed", owner=str(turn.audience.owner), error=told(error))
                    _end(turn, Ending("error", frames.bye("error", ERROR_RETRY_MILLISECONDS)))
                else:
                    raise


async def _serve(turn: Turn, hub: Hub, reader: Reader) -> None:
    claims = turn.audience.claims
    hungry = [stream for stream in turn.streams if not stream.full]
    for stream in set(turn.streams) - set(hungry):
        stream.behind = True
    if not hungry:
        await reader.head(claims)  # nobody can take more, but the gate is asked all the same
        return
    after = min(stream.position.n for stream in hungry)
    seen = turn.audience.seen(hungry) if turn.partials else None
    async with reader.reading(claims, after=after, seen=seen) as reading:
        for stream in hungry:
            stream.accept(reading)
    more_pieces = len(reading.pieces) == READ_MAX_PIECES
    if more_pieces or reading.reached < reading.head.n:
        hub.soil(turn.audience, partials=more_pieces)


def _refused(error: RefusedError) -> Ending:
    farewell = frames.token(error.code, error.message)
    return Ending("expiry" if error.code == "token_expired" else "session", farewell)


def _end(turn: Turn, ending: Ending) -> None:
    for stream in turn.streams:
        stream.end(ending)
