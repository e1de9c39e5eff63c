"""The slots this worker has leased and which of them are busy: the limit of calls per host and model,
locally.

Plain accounting, no database: who may have which slot is decided there.
"""

from collections.abc import Collection, Iterable

from prometheus_client import Gauge

from listener.queue.workers import SlotKey

SLOTS = Gauge("precis_slots", "Slots this worker has leased.", ["state"])


class Slots:
    """One entry per leased slot: True while a call uses it."""

    def __init__(self) -> None:
        self._busy: dict[SlotKey, bool] = {}

    def add(self, keys: Iterable[SlotKey]) -> None:
        """Leased to us now."""
        for key in keys:
            self._busy.setdefault(key, False)
        self._count()

    def remove(self, keys: Iterable[SlotKey]) -> None:
        """Not ours any more."""
        for key in keys:
            self._busy.pop(key, None)
        self._count()

    def clear(self) -> None:
        """The lease is gone and all slots with it. Calls that still end find theirs unknown."""
        self._busy.clear()
        self._count()

    def held(self, model_id: int) -> int:
        """How many slots of a model are ours."""
        return sum(key.model_id == model_id for key in self._busy)

    def at(self, host_id: int, model_id: int) -> int:
        """How many of them are on one host."""
        return sum(key.model_id == model_id and key.host_id == host_id for key in self._busy)

    def idle(self, model_id: int) -> list[SlotKey]:
        """Those of them that no call uses."""
        return [key for key, busy in self._busy.items() if key.model_id == model_id and not busy]

    def models(self) -> set[int]:
        """Models of which we hold a slot."""
        return {key.model_id for key in self._busy}

    def free(self, model_id: int, hosts: Collection[int]) -> int:
        """How many calls of a model could begin now, on these hosts."""
        return sum(key.host_id in hosts for key in self.idle(model_id))

    def take(self, model_id: int, hosts: Collection[int]) -> SlotKey | None:
        """A slot on the least busy of these hosts, busy from now on."""
        usable = [key for key in self.idle(model_id) if key.host_id in hosts]
        if not usable:
            return None
        key = min(usable, key=lambda key: (self._load(key.host_id), key.n))
        self._busy[key] = True
        self._count()
        return key

    def give(self, key: SlotKey) -> None:
        """The call has ended."""
        if key in self._busy:
            self._busy[key] = False
        self._count()

    def _load(self, host_id: int) -> int:
        return sum(busy for key, busy in self._busy.items() if key.host_id == host_id)

    def _count(self) -> None:
        busy = sum(self._busy.values())
        SLOTS.labels("busy").set(busy)
        SLOTS.labels("idle").set(len(self._busy) - busy)
