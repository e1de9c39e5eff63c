"""From which tag on a claim looks for jobs: below lie only the dead rows of jobs long done.

Every tag is drawn from its model's clock, so a job cannot get one far below where the clock stood half a
second ago, unless its transaction was open longer. For those a claim without floor looks, at most once a
second, if the last one did not find all it asked for; where jobs abound the sweeper lifts them instead.
"""

from collections import deque
from collections.abc import Iterable

from listener.queue.jobs import FLOOR_MARGIN, LOWEST_TAG

SETTLED_SECONDS = 0.5
UNFLOORED_SECONDS = 1.0


class ClaimFloors:
    """Positions of the models' clocks as they were seen, with the local time."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[tuple[float, int]]] = {}
        self._unfloored_at = float("-inf")
        self._short = True

    def see(self, model_id: int, clock: int, *, at: float) -> None:
        """The model's clock had this position then."""
        positions = self._seen.setdefault(model_id, deque())
        if not positions or clock > positions[-1][1]:
            positions.append((at, clock))
        while len(positions) > 1 and positions[1][0] <= at - SETTLED_SECONDS:
            positions.popleft()

    def answered(self, *, in_full: bool) -> None:
        """Whether the last claim found all it asked for."""
        self._short = not in_full

    def floors(self, models: Iterable[int], *, at: float) -> dict[int, int]:
        """The floor of each model for a claim now; the lowest for all if it is time to look without."""
        if self.looks_without(at):
            self._unfloored_at = at
            return dict.fromkeys(models, LOWEST_TAG)
        return {model_id: self._floor(model_id, at) for model_id in models}

    def looks_without(self, at: float) -> bool:
        """Whether the next claim would look without floor."""
        return self._short and at >= self.due_at

    @property
    def due_at(self) -> float:
        """When a claim may look without floor again, if it must."""
        return self._unfloored_at + UNFLOORED_SECONDS

    def _floor(self, model_id: int, at: float) -> int:
        settled = [clock for seen, clock in self._seen.get(model_id, ()) if seen <= at - SETTLED_SECONDS]
        return settled[-1] - FLOOR_MARGIN if settled else LOWEST_TAG
