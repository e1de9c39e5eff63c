"""Which other workers are silent, by our own clock: who has counted no renewal for too long while we looked.

The server's clock may jump, and after it was away nobody could renew: then all looking begins anew. Knows no
statement, and of a worker only how far it has counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# A worker renews every 2 s. Without its session lock and silent for so long, its process is gone; silent for
# a whole lease, its machine is.
VANISHED_SECONDS = 5.0
LAPSED_SECONDS = 15.0

Count = tuple[int, int]  # incarnation, renewals


class Suspect(NamedTuple):
    """A worker that has counted no further. `lapsed`: for a whole lease, whatever its session lock tells."""

    worker_id: int
    incarnation: int
    renewals: int
    lapsed: bool


@dataclass
class SilenceWatch:
    """`see` what each renewal tells of the others; `distrust` it after trouble. Times are the loop's."""

    _seen: dict[int, tuple[Count, float]] = field(default_factory=dict)
    _server: str = ""

    def see(self, others: Sequence[tuple[int, Count]], *, server: str, at: float) -> None:
        """So far they have counted, on a server that was started then."""
        known = self._seen if server == self._server else {}
        self._server = server
        self._seen = {worker: self._noted(known.get(worker), count, at) for worker, count in others}

    def distrust(self) -> None:
        """We could not renew, so the others may not have been able to either."""
        self._seen = {}

    def suspects(self, now: float) -> list[Suspect]:
        """Who is silent for so long that it may be gone."""
        silent = ((worker, count, now - since) for worker, (count, since) in self._seen.items())
        return [
            Suspect(worker, *count, lapsed=seconds >= LAPSED_SECONDS)
            for worker, count, seconds in silent
            if seconds >= VANISHED_SECONDS
        ]

    def due_at(self) -> float:
        """When somebody will be a suspect who says no more; never, while there is nobody."""
        return min((since + VANISHED_SECONDS for _, since in self._seen.values()), default=float("inf"))

    @staticmethod
    def _noted(known: tuple[Count, float] | None, count: Count, at: float) -> tuple[Count, float]:
        return known if known is not None and known[0] == count else (count, at)
