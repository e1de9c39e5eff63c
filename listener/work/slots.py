"""Who may call where: every claimed job has a permit at one model server, with a slot, or in line for the
next one that is vacated there.

Where calls are short a slot goes from one job to the next without a word to the database in between: that one
has been claimed and prepared ahead, and begins before the last one's answer is even checked. Where calls are
long nobody is ahead, and a slot stays with its job until its answer is checked. Knows no job.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from prometheus_client import Gauge

from listener.errors import NoSlotError
from listener.model.breaker import ANSWERED, Caller, Finding
from listener.model.chat import Answer, Hear, Message, Model
from listener.model.hosts import ANY_NUMBER, Hosts, Visit
from listener.queue.slots import SlotKey
from listener.queue.workers import Share

# So long may a job that is claimed ahead expect to wait. It is the others' loss, should they be idle by then.
AHEAD_SECONDS = 0.15

# So long does it wait at most: then the calls are no longer as short as they were.
PATIENCE_SECONDS = 1.0
CALLS_KEPT = 16
# Of the loop, until the next call has been sent: httpx writes head and body in turns of their own, after some
# of its own. What comes after the last one, checks above all, would take the interpreter from it.
TURNS_TO_BEGIN = 8


SLOTS = Gauge("precis_slots", "Slots this worker has leased.", ["state"])


class LeasedSlots:
    """The slots that this worker has leased, and which of them are busy: the limit of calls per host and
    model, locally. Plain accounting: who may have which slot is decided in the database."""

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


@dataclass(frozen=True, slots=True)
class Place:
    """A model on a host."""

    host_id: int
    model_id: int


@dataclass(slots=True)
class WaitingLine:
    """Who waits at a place, and how long the last calls there took."""

    waiting: "deque[Permit]" = field(default_factory=deque)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))

    def most_ahead(self, slots: int) -> int:
        """How many of so many slots will be vacated before long: none unless calls are short."""
        if not self.seconds:
            return 0
        mean = sum(self.seconds) / len(self.seconds)
        return min(slots, int(AHEAD_SECONDS * slots / max(mean, 1e-3)))


class Permit:
    """The model as a task sees it. `chat` waits for its turn; `leave` at the end, in any case."""

    def __init__(self, slots: "Slots", place: Place, model: Model, caller: Caller) -> None:
        self.place = place
        self.caller = caller
        self.model = model
        self.name = model.name
        self.engine = model.engine
        self.context_tokens = model.context_tokens
        self.thinks = model.thinks
        self.estimate = model.estimate
        self.has_called = False
        self._slots = slots
        self._slot: SlotKey | None = None
        self._visit: Visit | None = None
        self._called_up = asyncio.Event()

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer:
        """Raises what the model raises, and NoSlotError."""
        visit = self._visit or await self._turn()
        self.has_called = True
        answer = await visit.model.chat(messages, answer_tokens=answer_tokens, hear=hear)
        if self._slots.note(self.place, answer.seconds):
            self.leave(ANSWERED)
            for _ in range(TURNS_TO_BEGIN):
                await asyncio.sleep(0)
        return answer

    def begin(self, slot: SlotKey, visit: Visit) -> None:
        """It is our turn."""
        self._slot, self._visit = slot, visit
        self._called_up.set()

    def dismiss(self) -> None:
        """It will not be our turn."""
        self._called_up.set()

    def suspect(self) -> None:
        """Nobody was there, or not the model."""
        if self._visit is not None:
            self._visit.suspect()

    def leave(self, finding: Finding) -> None:
        """We do not call now, nor wait to; what the last call has shown of the server."""
        self._slots.forget(self)
        slot, visit, self._slot, self._visit = self._slot, self._visit, None, None
        if slot is not None and visit is not None:
            visit.ended(finding)
            self._slots.vacate(slot)

    async def _turn(self) -> Visit:
        if self.has_called:  # one more turn with the same text: before all who have had none
            self._called_up.clear()
            self._slots.line_up(self)
        try:
            async with asyncio.timeout(None if self.has_called else PATIENCE_SECONDS):
                await self._called_up.wait()
        except TimeoutError:
            self._slots.take_longer(self.place)
        if self._visit is None:
            raise NoSlotError
        return self._visit


class Slots:
    """`take` one for each job that is claimed; `ahead` says how many more there may be than slots are free.
    `vacated` is called when somebody has left."""

    def __init__(self, hosts: Hosts, *, may_begin: Callable[[], bool], vacated: Callable[[], None]) -> None:
        self.leased = LeasedSlots()
        self._hosts = hosts
        self._may_begin = may_begin
        self._vacated = vacated
        self._lines: dict[Place, WaitingLine] = {}
        self._crowded: frozenset[int] = frozenset()

    def free(self, model_id: int) -> int:
        """How many calls of a model could begin now. Where one alone may, each model asks for it: none must
        wait until another has a job. Should two be claimed, one finds no slot and is handed back."""
        allowed = self._hosts.calls_allowed(model_id)
        return sum(min(most, self.leased.free(model_id, [host])) for host, most in allowed.items())

    def ahead(self, model_id: int) -> int:
        """How many more jobs of a model may be claimed to wait here for a slot."""
        if any(most != ANY_NUMBER for most in self._hosts.calls_allowed(model_id).values()):
            return 0  # one call alone, which is to show something
        return sum(max(0, self._room(place)) for place in self._places(model_id))

    def prefers_another(self, model_id: int, caller: Caller) -> bool:
        """Whether this one had better not be taken now: what it would call is on trial after its owner's
        failures."""
        free = self.leased.free(model_id, self._open_hosts(model_id))
        return not free and self._hosts.prefers_another(model_id, caller)

    def take(self, model_id: int, caller: Caller) -> Permit | None:
        """With a slot, or else in line for one; None where there is neither any more."""
        return self._with_slot(model_id, caller) or self._in_line(model_id, caller)

    def see(self, shares: Iterable[Share]) -> None:
        """Of some models we have more slots than our share, or they are paused: these are to fall idle."""
        self._crowded = frozenset(s.model_id for s in shares if self.leased.held(s.model_id) > s.fair)
        self.settle()

    def settle(self) -> None:
        """Something has changed: call up who can begin, send away who waits in vain."""
        for place, line in self._lines.items():
            self._call_up(place)
            gone = not self.leased.at(place.host_id, place.model_id)
            for permit in list(line.waiting):
                if gone or not (permit.has_called or self._lets_ahead(place)):
                    line.waiting.remove(permit)
                    permit.dismiss()

    # For permits

    def note(self, place: Place, seconds: float) -> bool:
        """A call took so long; whether calls are so short here that its slot is wanted back at once."""
        self._line(place).seconds.append(seconds)
        return self._most_ahead(place) > 0

    def take_longer(self, place: Place) -> None:
        """Nobody has left for so long: calls are no longer short here."""
        self._line(place).seconds.clear()

    def line_up(self, permit: Permit) -> None:
        """Before all others."""
        self._line(permit.place).waiting.appendleft(permit)
        self._call_up(permit.place)

    def forget(self, permit: Permit) -> None:
        """It waits no more."""
        if permit in (waiting := self._line(permit.place).waiting):
            waiting.remove(permit)

    def vacate(self, slot: SlotKey) -> None:
        """The next one begins, with whatever it has prepared."""
        self.leased.give(slot)
        self._call_up(Place(slot.host_id, slot.model_id))
        self._vacated()

    def _line(self, place: Place) -> WaitingLine:
        return self._lines.setdefault(place, WaitingLine())

    def _places(self, model_id: int) -> list[Place]:
        """Where calls are short, and jobs may wait."""
        places = [Place(host_id, model_id) for host_id in self._open_hosts(model_id)]
        return [place for place in places if self._lets_ahead(place) and self._most_ahead(place)]

    def _open_hosts(self, model_id: int) -> list[int]:
        """Those that take any number of calls."""
        return [host for host, most in self._hosts.calls_allowed(model_id).items() if most == ANY_NUMBER]

    def _room(self, place: Place) -> int:
        return self._most_ahead(place) - len(self._line(place).waiting)

    def _most_ahead(self, place: Place) -> int:
        return self._line(place).most_ahead(self.leased.at(place.host_id, place.model_id))

    def _lets_ahead(self, place: Place) -> bool:
        is_open = place.host_id in self._open_hosts(place.model_id)
        return is_open and place.model_id not in self._crowded and self._may_begin()

    def _call_up(self, place: Place) -> None:
        waiting = self._line(place).waiting
        while waiting and (waiting[0].has_called or self._lets_ahead(place)):
            slot = self.leased.take(place.model_id, [place.host_id])
            if slot is None:
                return
            visit = self._hosts.visit(place.host_id, place.model_id, waiting[0].caller)
            if visit is None:
                self.leased.give(slot)
                return
            waiting.popleft().begin(slot, visit)

    def _with_slot(self, model_id: int, caller: Caller) -> Permit | None:
        # Where any number may, if possible: a call that is to show something may cost somebody an attempt.
        hosts = self._hosts.calls_allowed(model_id)
        slot = self.leased.take(model_id, self._open_hosts(model_id)) or self.leased.take(model_id, hosts)
        if slot is None:
            return None
        visit = self._hosts.visit(slot.host_id, model_id, caller)
        if visit is None:  # its host has gone while we claimed
            self.leased.give(slot)
            return None
        permit = Permit(self, Place(slot.host_id, model_id), visit.model, caller)
        permit.begin(slot, visit)
        return permit

    def _in_line(self, model_id: int, caller: Caller) -> Permit | None:
        place = max(self._places(model_id), key=self._room, default=None)
        if place is None:
            return None
        permit = Permit(self, place, self._hosts.model(place.host_id, model_id), caller)
        self._line(place).waiting.append(permit)
        return permit
