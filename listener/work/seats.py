"""Who may call where: every claimed job has a seat at one model server, with a slot or in line for the next
that is vacated there.

Where calls are short a slot goes from one job to the next without a word to the database in between: that one
has been claimed and prepared ahead, and begins before the last one's answer is even checked. Where calls are
long nobody is ahead, and a slot stays with its job until its answer is checked. Knows no job.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from listener.errors import NoSeatError
from listener.model.breaker import ANSWERED, Caller, Finding
from listener.model.chat import Answer, Hear, Message, Model
from listener.model.hosts import Hosts, Visit
from listener.queue.workers import Share, SlotKey
from listener.work.slots import Slots

# So long may a job that is claimed ahead expect to wait. It is the others' loss, should they be idle by then.
AHEAD_SECONDS = 0.15

# So long does it wait at most: then the calls are no longer as short as they were.
PATIENCE_SECONDS = 1.0
CALLS_KEPT = 16
# Of the loop, until the next call has been sent: httpx writes head and body in turns of their own, after some
# of its own. What comes after the last one, checks above all, would take the interpreter from it.
TURNS_TO_BEGIN = 8


@dataclass(frozen=True, slots=True)
class Place:
    """A model on a host."""

    host_id: int
    model_id: int


@dataclass(slots=True)
class Line:
    """Who waits at a place, and how long the last calls there took."""

    waiting: "deque[Seat]" = field(default_factory=deque)
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))

    def most_ahead(self, slots: int) -> int:
        """How many of so many slots will be vacated before long: none unless calls are short."""
        if not self.seconds:
            return 0
        mean = sum(self.seconds) / len(self.seconds)
        return min(slots, int(AHEAD_SECONDS * slots / max(mean, 1e-3)))


class Seat:
    """The model as a task sees it. `chat` waits for its turn; `leave` at the end, in any case."""

    def __init__(self, seats: "Seats", place: Place, model: Model, caller: Caller) -> None:
        self.place = place
        self.caller = caller
        self.model = model
        self.name = model.name
        self.engine = model.engine
        self.context_tokens = model.context_tokens
        self.thinks = model.thinks
        self.estimate = model.estimate
        self.has_called = False
        self._seats = seats
        self._slot: SlotKey | None = None
        self._visit: Visit | None = None
        self._called_up = asyncio.Event()

    async def chat(self, messages: Sequence[Message], *, answer_tokens: int, hear: Hear) -> Answer:
        """Raises what the model raises, and NoSeatError."""
        visit = self._visit or await self._turn()
        self.has_called = True
        answer = await visit.model.chat(messages, answer_tokens=answer_tokens, hear=hear)
        if self._seats.note(self.place, answer.seconds):
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
        self._seats.forget(self)
        slot, visit, self._slot, self._visit = self._slot, self._visit, None, None
        if slot is not None and visit is not None:
            visit.ended(finding)
            self._seats.vacate(slot)

    async def _turn(self) -> Visit:
        if self.has_called:  # one more turn with the same text: before all who have had none
            self._called_up.clear()
            self._seats.line_up(self)
        try:
            async with asyncio.timeout(None if self.has_called else PATIENCE_SECONDS):
                await self._called_up.wait()
        except TimeoutError:
            self._seats.take_longer(self.place)
        if self._visit is None:
            raise NoSeatError
        return self._visit


class Seats:
    """`take` one for each job that is claimed; `ahead` says how many more there may be than slots are free.
    `vacated` is called when somebody has left."""

    def __init__(self, hosts: Hosts, *, may_begin: Callable[[], bool], vacated: Callable[[], None]) -> None:
        self.slots = Slots()
        self._hosts = hosts
        self._may_begin = may_begin
        self._vacated = vacated
        self._lines: dict[Place, Line] = {}
        self._crowded: frozenset[int] = frozenset()

    def ahead(self, model_id: int) -> int:
        """How many more jobs of a model may be claimed to wait here for a slot."""
        if self._hosts.on_trial(model_id):
            return 0
        return sum(max(0, self._room(place)) for place in self._places(model_id))

    def prefers_another(self, model_id: int, caller: Caller) -> bool:
        """Whether this one had better not be taken now: what it would call is on trial after its owner's
        failures."""
        free = self.slots.free(model_id, self._hosts.trusted(model_id))
        return not free and self._hosts.prefers_another(model_id, caller)

    def take(self, model_id: int, caller: Caller) -> Seat | None:
        """With a slot, or else in line for one; None where there is neither any more."""
        return self._with_slot(model_id, caller) or self._in_line(model_id, caller)

    def see(self, shares: Iterable[Share]) -> None:
        """Of some models we have more slots than our share, or they are paused: these are to fall idle."""
        self._crowded = frozenset(s.model_id for s in shares if self.slots.held(s.model_id) > s.fair)
        self.settle()

    def settle(self) -> None:
        """Something has changed: call up who can begin, send away who waits in vain."""
        for place, line in self._lines.items():
            self._call_up(place)
            gone = not self.slots.at(place.host_id, place.model_id)
            for seat in list(line.waiting):
                if gone or not (seat.has_called or self._lets_ahead(place)):
                    line.waiting.remove(seat)
                    seat.dismiss()

    # For seats

    def note(self, place: Place, seconds: float) -> bool:
        """A call took so long; whether calls are so short here that its slot is wanted back at once."""
        self._line(place).seconds.append(seconds)
        return self._most_ahead(place) > 0

    def take_longer(self, place: Place) -> None:
        """Nobody has left for so long: calls are no longer short here."""
        self._line(place).seconds.clear()

    def line_up(self, seat: Seat) -> None:
        """Before all others."""
        self._line(seat.place).waiting.appendleft(seat)
        self._call_up(seat.place)

    def forget(self, seat: Seat) -> None:
        """It waits no more."""
        if seat in (waiting := self._line(seat.place).waiting):
            waiting.remove(seat)

    def vacate(self, slot: SlotKey) -> None:
        """The next one begins, with whatever it has prepared."""
        self.slots.give(slot)
        self._call_up(Place(slot.host_id, slot.model_id))
        self._vacated()

    def _line(self, place: Place) -> Line:
        return self._lines.setdefault(place, Line())

    def _places(self, model_id: int) -> list[Place]:
        """Where calls are short, and jobs may wait."""
        places = [Place(host_id, model_id) for host_id in self._hosts.trusted(model_id)]
        return [place for place in places if self._lets_ahead(place) and self._most_ahead(place)]

    def _room(self, place: Place) -> int:
        return self._most_ahead(place) - len(self._line(place).waiting)

    def _most_ahead(self, place: Place) -> int:
        return self._line(place).most_ahead(self.slots.at(place.host_id, place.model_id))

    def _lets_ahead(self, place: Place) -> bool:
        trusted = place.host_id in self._hosts.trusted(place.model_id)
        return trusted and place.model_id not in self._crowded and self._may_begin()

    def _call_up(self, place: Place) -> None:
        waiting = self._line(place).waiting
        while waiting and (waiting[0].has_called or self._lets_ahead(place)):
            slot = self.slots.take(place.model_id, [place.host_id])
            if slot is None:
                return
            visit = self._hosts.visit(place.host_id, place.model_id, waiting[0].caller)
            if visit is None:
                self.slots.give(slot)
                return
            waiting.popleft().begin(slot, visit)

    def _with_slot(self, model_id: int, caller: Caller) -> Seat | None:
        # Where there is trust, if possible: a failed trial costs somebody an attempt.
        trusted, on_trial = self._hosts.trusted(model_id), self._hosts.on_trial(model_id)
        slot = self.slots.take(model_id, trusted) or self.slots.take(model_id, on_trial)
        if slot is None:
            return None
        visit = self._hosts.visit(slot.host_id, model_id, caller)
        if visit is None:  # its host has gone while we claimed
            self.slots.give(slot)
            return None
        seat = Seat(self, Place(slot.host_id, model_id), visit.model, caller)
        seat.begin(slot, visit)
        return seat

    def _in_line(self, model_id: int, caller: Caller) -> Seat | None:
        place = max(self._places(model_id), key=self._room, default=None)
        if place is None:
            return None
        seat = Seat(self, place, self._hosts.model(place.host_id, model_id), caller)
        self._line(place).waiting.append(seat)
        return seat
