"""Which model servers answer and what they serve: asks each again and again, records it, keeps the models at
hand. Leaves alone for a while those whose calls fail. Whatever one server says harms no other.

Knows of the servers' chats only how they went.
"""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import structlog
from prometheus_client import Gauge

from chassis.database import passing, told
from listener.model import diagnosis
from listener.model.breaker import Breaker, Caller, Finding, State
from listener.model.chat import Model, Patience
from listener.model.listing import Listed, ListingError, read_listed, read_tags, read_version
from listener.model.server import Server
from listener.queue import models
from listener.queue.jobs import Claimant, Connection
from listener.queue.models import Served

LOOK_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 1.0  # at a server that did not answer, or a database that did not
SEEN_SECONDS = 30.0
SETTLED_SECONDS = 90.0
ANSWER_SECONDS = 10.0
FAULTS_TOLD = 5
MOST_NAMES = 4096  # each is a row and a sequence in the database

UP = Gauge("precis_host_up", "1 while the model server answers.", ["host"])
BREAKER = Gauge(
    "precis_breaker_state", "0: the model server is called; 1: by one call at a time; 2: not.", ["host"]
)
ANY_NUMBER = sys.maxsize
LEVELS: Mapping[State, int] = {"closed": 0, "half_open": 1, "open": 2}

log = structlog.get_logger()

# What a server says of its models: enough of it to notice a change.
Listing = Mapping[str, Listed]
Faults = Sequence[str]  # what of a listing cannot be used, and why


@dataclass(slots=True)
class Host:
    """One server. `served` is what may be called on it now: empty while it does not answer."""

    url: str
    server: Server
    id: int = 0
    listing: Listing = field(default_factory=dict)
    served: dict[int, Model] = field(default_factory=dict)
    suspected: asyncio.Event = field(default_factory=asyncio.Event)
    breaker: Breaker = field(default_factory=Breaker)
    up: bool | None = None
    names: set[str] = field(default_factory=set)  # of all models that it has ever listed
    faults: Faults = ()
    reason: str = ""  # why it cannot be used
    seen_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Visit:
    """One use of a host: the model there, and the ways to tell of it."""

    model: Model
    ended: Callable[[Finding], None]  # once, whatever happens
    suspect: Callable[[], None]  # nobody was there, or not the model


@dataclass(frozen=True, slots=True)
class HostOptions:
    """How models are to be used: what the settings say of it."""

    slots_per_model: int
    default_model: str
    context_tokens: int
    keep_alive: str | int
    patience: Patience


class Hosts:
    """One `watch` per address, for ever; `changed` is called when something can be used, or no longer."""

    def __init__(
        self,
        pool: "asyncpg.Pool[Any]",
        wishes: HostOptions,
        *,
        claimant: Callable[[], Claimant],
        changed: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._wishes = wishes
        self._claimant = claimant
        self._changed = changed
        self._hosts: list[Host] = []

    @property
    def answering(self) -> bool:
        """Whether at least one server does."""
        return any(host.up for host in self._hosts)

    def models(self) -> list[int]:
        """The ids of all models that can be called now."""
        return sorted({model_id for host in self._usable() for model_id in host.served})

    def reachable(self) -> list[int]:
        """The ids of all hosts that can be called now, or are just being tried."""
        return [host.id for host in self._usable()]

    def serving(self, model_id: int) -> list[int]:
        """The ids of the hosts where a model can be called now, or is just being tried."""
        return [host.id for host in self._usable() if model_id in host.served]

    def calls_allowed(self, model_id: int) -> dict[int, int]:
        """How many calls may begin on each of them, the best first: any number, or one alone, of whatever
        model, on a host that has to show whether it is well again."""
        admitting = sorted(self._admitting(model_id), key=lambda host: host.breaker.state != "closed")
        return {host.id: ANY_NUMBER if host.breaker.state == "closed" else 1 for host in admitting}

    def model(self, host_id: int, model_id: int) -> Model:
        """The model on one of `serving`."""
        return next(host.served[model_id] for host in self._hosts if host.id == host_id)

    def prefers_another(self, model_id: int, caller: Caller) -> bool:
        """Whether all that can be called is on trial, and somebody else's request would be a better trial."""
        hosts = list(self._admitting(model_id))
        return bool(hosts) and all(host.breaker.prefers_another(caller) for host in hosts)

    def visit(self, host_id: int, model_id: int, caller: Caller) -> Visit | None:
        """The model there, for one attempt; None if it has just gone, or must not be called."""
        for host in self._admitting(model_id):
            if host.id == host_id:
                turn = host.breaker.begin()
                return Visit(
                    host.served[model_id],
                    ended=partial(self._ended, host, turn, caller),
                    suspect=partial(self._suspect, host),
                )
        return None

    def _usable(self) -> Iterator[Host]:
        # An open one is as good as gone, for slots too: this worker gives its own back, and no longer counts
        # as one that serves the model if it does so nowhere else. So a worker whom the server answers can
        # have them all. The price is to lease them again afterwards: a few statements each time it opens.
        # While it is half open this worker has its share again, most of it idle for the time of one call.
        return (host for host in self._hosts if host.breaker.state != "open")

    def _admitting(self, model_id: int) -> Iterator[Host]:
        return (host for host in self._hosts if model_id in host.served and host.breaker.admits)

    def _suspect(self, host: Host) -> None:
        """Use nothing of it until it answers a look."""
        host.served = {}
        host.listing = {}
        host.suspected.set()
        self._changed()

    def _ended(self, host: Host, turn: int, caller: Caller, finding: Finding) -> None:
        before = host.breaker.state, host.breaker.admits
        seconds = host.breaker.end(turn, caller, finding)
        if seconds is not None:
            log.warning("breaker.opened", host=host.url, verdict=finding.verdict, seconds=round(seconds, 2))
            asyncio.get_running_loop().call_later(seconds, self._half_open, host, host.breaker.turn)
        elif before[0] != host.breaker.state:
            log.info("breaker.closed", host=host.url)
        self._show(host)
        if before != (host.breaker.state, host.breaker.admits):
            self._changed()

    def _half_open(self, host: Host, turn: int) -> None:
        if host.breaker.half_open(turn):
            self._show(host)
            self._changed()

    def _show(self, host: Host) -> None:
        BREAKER.labels(host.url).set(LEVELS[host.breaker.state])

    async def watch(self, url: str) -> None:
        """Ask the server at `url` for ever."""
        async with Server(url) as server:
            host = Host(url, server)
            self._hosts.append(host)
            self._show(host)
            while True:
                host.suspected.clear()
                pause = await self._look(host)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await host.suspected.wait()

    async def forget_others(self, urls: Sequence[str]) -> None:
        """See to it, for ever, that nothing stays on offer where nobody looks any more. `urls` are all that
        are watched here. After an outage of the database others are given the time to say what they see."""
        quiet_looks = 0
        while True:
            settled = quiet_looks * SEEN_SECONDS >= SETTLED_SECONDS
            noted = await self._note(self._forget_others(urls, settled=settled))
            quiet_looks = quiet_looks + 1 if noted else 0
            await asyncio.sleep(SEEN_SECONDS)

    async def _look(self, host: Host) -> float:
        """One look; how many seconds until the next."""
        try:
            listing, faults = await self._list(host)
            version = read_version(await self._fetch(host, "GET", "/api/version"))
        except (ListingError, diagnosis.UnreadableError, diagnosis.OversizeError) as error:
            await self._note(self._miss(host, diagnosis.reason(error)))
            return LOOK_SECONDS  # it will say so again
        except (TimeoutError, *diagnosis.CLIENT_ERRORS) as error:
            await self._note(self._miss(host, diagnosis.reason(error)))
            return max(LOOK_AGAIN_SECONDS, diagnosis.retry_after(error))
        self._complain(host, faults)
        return LOOK_SECONDS if await self._note(self._see(host, listing, version)) else LOOK_AGAIN_SECONDS

    async def _fetch(
        self, host: Host, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await host.server.fetch(method, path, body)

    def _complain(self, host: Host, faults: Faults) -> None:
        if faults and faults != host.faults:
            log.warning("host.lists_nonsense", host=host.url, faults=faults[:FAULTS_TOLD], count=len(faults))
        host.faults = faults

    async def _note(self, recording: Awaitable[None]) -> bool:
        """Let it be recorded; if the database is away, that is not the model server's fault. Whatever else is
        wrong ends here too: one server's oddities must not end the watch of the others."""
        try:
            await recording
        except Exception as error:
            # Two listeners that choose a default at one moment: the unique index lets one through.
            log.warning("host.not_recorded", error=told(error), exc_info=not passing(error))
            return False
        return True

    async def _see(self, host: Host, listing: Listing, version: str) -> None:
        now = asyncio.get_running_loop().time()
        if host.up and listing == host.listing and await self._is_recorded(host, now):
            return
        served = await self._record(host, listing, version)
        if not host.up:  # it was away: what its calls have shown is of another life
            host.breaker.half_open(host.breaker.turn)
            self._show(host)
        host.served = {model.model_id: self._model(host, model) for model in served}
        host.listing, host.seen_at, host.up = listing, now, True
        UP.labels(host.url).set(1)
        log.info("host.answers", host=host.url, version=version, models=sorted(listing))
        self._changed()

    async def _is_recorded(self, host: Host, now: float) -> bool:
        """Say that it still answers, if it is time to. It is forgotten if nobody could say so for long."""
        if now - host.seen_at < SEEN_SECONDS:
            return True
        async with self._pool.acquire() as connection:
            recorded = await models.see_host(connection, host.id)
        host.seen_at = now
        return recorded == len(host.listing)

    async def _record(self, host: Host, listing: Listing, version: str) -> list[Served]:
        async with self._pool.acquire() as connection, connection.transaction():
            host.id = await models.put_host(connection, url=host.url, version=version)
            served = [
                Served(
                    await models.add_model(connection, name),
                    name,
                    model.digest,
                    model.family,
                    model.context_tokens,
                    model.capabilities,
                )
                for name, model in sorted(listing.items())
            ]
            slots = self._wishes.slots_per_model
            await models.put_host_models(connection, host.id, served, slots_per_model=slots)
            await self._choose_default(connection)
        return served

    async def _choose_default(self, connection: Connection) -> None:
        if default := await models.choose_default(connection, self._wishes.default_model):
            log.info("model.is_default", model=default)

    async def _miss(self, host: Host, reason: str) -> None:
        if host.up is not False or host.reason != reason:
            log.warning("host.cannot_be_used", host=host.url, reason=reason)
        was_up, host.up, host.reason, host.served, host.listing = host.up, False, reason, {}, {}
        UP.labels(host.url).set(0)
        if was_up:
            self._changed()
        if host.id:
            async with self._pool.acquire() as connection:
                await models.miss_host(connection, host.id, self._claimant())

    async def _forget_others(self, urls: Sequence[str], *, settled: bool) -> None:
        async with self._pool.acquire() as connection:
            await models.hide_others(connection, urls, self._claimant())
            if settled and (hosts := await models.forget_others(connection, urls, self._claimant())):
                log.warning("host.forgotten", hosts=hosts)
                await self._choose_default(connection)

    async def _list(self, host: Host) -> tuple[Listing, Faults]:
        """What can be used there, and what cannot. Asks for details only of what is new."""
        tags = read_tags(await self._fetch(host, "GET", "/api/tags"))
        names = host.names | tags.digests.keys()
        if len(names) > MOST_NAMES:
            raise ListingError("it lists ever new models")
        host.names = names
        listing, faults = {}, list(tags.faults)
        for name, digest in tags.digests.items():
            known = host.listing.get(name)
            if known is None or known.digest != digest:
                try:
                    known = await self._ask_of(host, name, digest)
                except ListingError as error:
                    faults.append(f"{diagnosis.told(name)}: {error}")
                    known = None
            if known is not None:
                listing[name] = known
        return listing, faults

    async def _ask_of(self, host: Host, name: str, digest: str) -> Listed | None:
        """Raises ListingError for what is wrong with this model alone."""
        try:
            shown = await self._fetch(host, "POST", "/api/show", {"model": name})
        except (diagnosis.UnreadableError, diagnosis.OversizeError) as error:
            raise ListingError(diagnosis.reason(error)) from error
        except diagnosis.AnswerError as error:
            if error.status not in (400, 404, 500):
                raise
            raise ListingError(diagnosis.reason(error)) from error
        return read_listed(digest, shown, context_tokens=self._wishes.context_tokens)

    def _model(self, host: Host, model: Served) -> Model:
        known = host.served.get(model.model_id)
        if known is not None and known.digest == model.digest:
            return known  # with what it has learnt about tokens
        return Model(
            server=host.server,
            name=model.name,
            digest=model.digest,
            engine="extractive" if model.family == "extractive" else "ollama",
            context_tokens=model.context_tokens,
            capabilities=model.capabilities,
            patience=self._wishes.patience,
            keep_alive=self._wishes.keep_alive,
        )
