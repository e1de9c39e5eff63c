"""Which model servers answer and what they serve: asks each again and again, records it, keeps the models at
hand. Leaves alone for a while those whose calls fail.

Knows the servers' listing, and of their chats only how they went.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import asyncpg
import structlog
from prometheus_client import Gauge

from listener import diagnosis, registry
from listener.breaker import Breaker, State, Verdict
from listener.lines import passing
from listener.model import Model, Patience, Server
from listener.queue import Claimant
from listener.registry import Served

LOOK_SECONDS = 15.0
LOOK_AGAIN_SECONDS = 1.0  # at a server that did not answer, or a database that did not
SEEN_SECONDS = 30.0
ANSWER_SECONDS = 10.0

UP = Gauge("precis_host_up", "1 while the model server answers.", ["host"])
BREAKER = Gauge(
    "precis_breaker_state", "0: the model server is called; 1: by one call at a time; 2: not.", ["host"]
)
LEVELS: Mapping[State, int] = {"closed": 0, "half_open": 1, "open": 2}

log = structlog.get_logger()

# What a server says of its models: enough of it to notice a change.
Listing = Mapping[str, "Listed"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A model as a server lists it."""

    digest: str
    family: str
    context_tokens: int
    capabilities: tuple[str, ...]


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
    seen_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Visit:
    """One use of a host: the model there, and the ways to tell of it."""

    model: Model
    ended: Callable[[Verdict], None]  # once, whatever happens
    suspect: Callable[[], None]  # nobody was there, or not the model


@dataclass(frozen=True, slots=True)
class Wishes:
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
        wishes: Wishes,
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

    def trusted(self, model_id: int) -> list[int]:
        """Those of them that take as many calls as there are slots."""
        return [host.id for host in self._admitting(model_id) if host.breaker.state == "closed"]

    def on_trial(self, model_id: int) -> list[int]:
        """Those of them that take one call, of whatever model, to show whether they are well again."""
        return [host.id for host in self._admitting(model_id) if host.breaker.state == "half_open"]

    def model(self, host_id: int, model_id: int) -> Model:
        """The model on one of `serving`."""
        return next(host.served[model_id] for host in self._hosts if host.id == host_id)

    def visit(self, host_id: int, model_id: int) -> Visit | None:
        """The model there, for one attempt; None if it has just gone, or must not be called."""
        for host in self._admitting(model_id):
            if host.id == host_id:
                turn = host.breaker.begin()
                return Visit(
                    host.served[model_id],
                    ended=partial(self._ended, host, turn),
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

    def _ended(self, host: Host, turn: int, verdict: Verdict) -> None:
        before = host.breaker.state, host.breaker.admits
        seconds = host.breaker.end(turn, verdict)
        if seconds is not None:
            log.warning("breaker.opened", host=host.url, verdict=verdict, seconds=round(seconds, 2))
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
                settled = await self._look(host)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS if settled else LOOK_AGAIN_SECONDS):
                        await host.suspected.wait()

    async def _look(self, host: Host) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                listing, version = await self._list(host), await _version(host.server)
        except (TimeoutError, *diagnosis.CLIENT_ERRORS) as error:
            await self._note(self._miss(host, f"{type(error).__name__}: {error}"))
            return False
        return await self._note(self._see(host, listing, version))

    async def _note(self, recording: Awaitable[None]) -> bool:
        """Let it be recorded; if the database is away, that is not the model server's fault."""
        try:
            await recording
        except Exception as error:
            # Two listeners that choose a default at one moment: the unique index lets one through.
            if not passing(error) and not isinstance(error, asyncpg.UniqueViolationError):
                raise
            log.warning("host.not_recorded", error=f"{type(error).__name__}: {error}")
            return False
        return True

    async def _see(self, host: Host, listing: Listing, version: str) -> None:
        now = asyncio.get_running_loop().time()
        if host.up and listing == host.listing:
            if now - host.seen_at >= SEEN_SECONDS:
                async with self._pool.acquire() as connection:
                    await registry.see_host(connection, host.id)
                host.seen_at = now
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

    async def _record(self, host: Host, listing: Listing, version: str) -> list[Served]:
        async with self._pool.acquire() as connection, connection.transaction():
            host.id = await registry.put_host(connection, url=host.url, version=version)
            served = [
                Served(
                    await registry.add_model(connection, name),
                    name,
                    model.digest,
                    model.family,
                    model.context_tokens,
                    model.capabilities,
                )
                for name, model in sorted(listing.items())
            ]
            slots = self._wishes.slots_per_model
            await registry.put_host_models(connection, host.id, served, slots_per_model=slots)
            if default := await registry.choose_default(connection, self._wishes.default_model):
                log.info("model.is_default", model=default)
        return served

    async def _miss(self, host: Host, reason: str) -> None:
        if host.up is not False:
            log.warning("host.does_not_answer", host=host.url, reason=reason)
        was_up, host.up, host.served, host.listing = host.up, False, {}, {}
        UP.labels(host.url).set(0)
        if was_up:
            self._changed()
        if host.id:
            async with self._pool.acquire() as connection:
                await registry.miss_host(connection, host.id, self._claimant())

    async def _list(self, host: Host) -> Listing:
        """What can be used there. Asks for details only of what is new."""
        listing = {}
        for model in (await host.server.fetch("GET", "/api/tags")).get("models") or []:
            name, digest = str(model.get("name") or model.get("model") or ""), str(model.get("digest") or "")
            if not name or model.get("remote_host"):  # runs elsewhere: texts would leave the house
                continue
            known = host.listing.get(name)
            if known is None or known.digest != digest:
                shown = await host.server.fetch("POST", "/api/show", {"model": name})
                known = read_listed(digest, shown, context_tokens=self._wishes.context_tokens)
            if known is not None:
                listing[name] = known
        return listing

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


def read_listed(digest: str, shown: Mapping[str, Any], *, context_tokens: int) -> Listed | None:
    """A model from /api/show, None if it cannot write text. `context_tokens` bounds what is asked of a
    language model; the extractive engine has no memory to fill."""
    capabilities = tuple(sorted(map(str, shown.get("capabilities") or ())))
    if shown.get("remote_host") or (capabilities and "completion" not in capabilities):
        return None
    info = shown.get("model_info") or {}
    trained = info.get(f"{info.get('general.architecture')}.context_length")
    family = str((shown.get("details") or {}).get("family") or info.get("general.architecture") or "")
    context = trained if isinstance(trained, int) and trained > 0 else context_tokens
    if family != "extractive":
        context = min(context, context_tokens)
    return Listed(digest, family, context, capabilities)


async def _version(server: Server) -> str:
    return str((await server.fetch("GET", "/api/version")).get("version") or "")
