"""`precis queue`, for operators: hands each command to the modules that read and steer the queue, and says
what came of it. A script gets JSON where it asks for it."""

import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from cyclopts import App, Parameter
from rich.console import Console
from rich.text import Text

from precis.faults import EXIT_FAILED, BadUsage
from precis.layout import Layout
from precis.options import Here, read_by
from precis.queue import control, live_view, quotas, requests, tables
from precis.queue.arguments import (
    Code,
    Common,
    Limits,
    OnlyModel,
    OnlyState,
    Owner,
    Rows,
    ShortId,
    Since,
    WhichModel,
    Yes,
    weight,
)
from precis.queue.connection import Connection, connected, find
from precis.queue.control import Answer, OpenState, Pauses
from precis.queue.format import clean, document, note, number, paused, short, terminal
from precis.queue.overview import read_workers
from precis.queue.requests import Wanted, WantedDead

APP = App(name="queue")
COMMON = Common()
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with."""

    connection: Connection
    console: Console
    as_json: bool

    def answer(self, value: Any) -> bool:
        """Prints it for a script, if that is what was asked for."""
        if self.as_json:
            print(document(value))
        return self.as_json

    def done(self, text: str) -> None:
        self.console.print(Text.assemble(("✓ ", "green"), text), soft_wrap=True)

    def refused(self, answer: Answer) -> None:
        words = f"{short(answer.id)}: {clean(answer.message)}"
        self.console.print(Text.assemble(("✗ ", "red"), words, (f"  [{answer.code}]", "dim")), soft_wrap=True)


@APP.command(name="list")
async def show_list(
    *,
    state: OnlyState = None,
    owner: Owner = None,
    model: OnlyModel = None,
    limit: Rows = 20,
    common: Common = COMMON,
    layout: Here,
) -> int:
    """Requests: the newest first, queued ones as they are claimed."""
    wanted = Wanted(limit, state, owner, model)
    async with _session(common, layout) as session:
        rows = await requests.read_rows(session.connection, wanted)
        if not session.answer(rows):
            if text := paused(await control.read_pauses(session.connection)):
                session.console.print(text)
            tables.show_rows(session.console, rows, limit=limit)
    return 0


@APP.command
async def show(id: ShortId, /, *, common: Common = COMMON, layout: Here) -> int:
    """One request with all attempts at it."""
    async with _session(common, layout) as session:
        request = await requests.request_id(session.connection, id)
        row, detail, attempts = await requests.read_one(session.connection, request)
        if not session.answer({**asdict(row), **asdict(detail), "attempts": attempts}):
            tables.show_one(session.console, row, detail, attempts)
    return 0


@APP.command
async def cancel(
    *ids: ShortId,
    state: Annotated[OpenState | None, Parameter(help="All in this state, or those chosen below.")] = None,
    owner: Owner = None,
    model: OnlyModel = None,
    yes: Yes = False,
    common: Common = COMMON,
    layout: Here,
) -> int:
    """End queued, scheduled or running requests."""
    if bool(ids) == bool(state) or (ids and (owner or model)):
        raise BadUsage("ids_or_state", "Name the requests, or say --state for all in one state.")
    async with _session(common, layout) as session:
        if state:
            return await _cancel_all(session, state, Wanted(None, state, owner, model), yes=yes)
        return _tell(session, [await control.cancel(session.connection, each) for each in ids], "cancelled")


@APP.command
async def retry(
    *ids: ShortId,
    dead: Annotated[
        bool, Parameter(negative="", help="All that have failed, or those chosen below.")
    ] = False,
    since: Since = None,
    code: Code = None,
    yes: Yes = False,
    common: Common = COMMON,
    layout: Here,
) -> int:
    """Queue failed or cancelled requests again."""
    if dead == bool(ids) or (not dead and (code or since is not None)):
        raise BadUsage("ids_or_dead", "Name the requests, or say --dead for all that have failed.")
    async with _session(common, layout) as session:
        if dead:
            return await _redrive(session, WantedDead(None, since, code), yes=yes)
        return _tell(session, [await control.retry(session.connection, each) for each in ids], "queued again")


@APP.command
async def dead(
    *, since: Since = None, code: Code = None, limit: Rows = 20, common: Common = COMMON, layout: Here
) -> int:
    """Dead letters: what has failed for good, and why."""
    async with _session(common, layout) as session:
        by_code, rows = await requests.read_dead(session.connection, WantedDead(limit, since, code))
        if not session.answer({"codes": by_code, "requests": rows}):
            tables.show_dead(session.console, by_code, rows)
    return 0


@APP.command
async def pause(model: WhichModel = None, /, *, common: Common = COMMON, layout: Here) -> int:
    """Claim nothing more, of a model or of all; what runs ends."""
    async with _session(common, layout) as session:
        return _tell_pauses(session, await control.pause(session.connection, model))


@APP.command
async def resume(model: WhichModel = None, /, *, common: Common = COMMON, layout: Here) -> int:
    """End a pause."""
    async with _session(common, layout) as session:
        return _tell_pauses(session, await control.resume(session.connection, model))


@APP.command
async def workers(*, common: Common = COMMON, layout: Here) -> int:
    """Who works, with which slots."""
    async with _session(common, layout) as session:
        found = await read_workers(session.connection)
        if not session.answer(found):
            tables.show_workers(session.console, found)
    return 0


@APP.command
async def drain(
    worker: Annotated[str, Parameter(help="Its number or name in `precis queue workers`.")],
    /,
    *,
    off: Annotated[bool, Parameter(negative="", help="Let it claim again.")] = False,
    common: Common = COMMON,
    layout: Here,
) -> int:
    """Let a worker claim nothing more; what it runs ends."""
    async with _session(common, layout) as session:
        found = await control.drain(session.connection, worker, on=not off)
        if not session.answer({"worker": found, "draining": not off}):
            what = "claims again." if off else "claims nothing more; what it runs ends."
            session.done(f"Worker {found} {what}")
    return 0


@APP.command
async def quota(
    email: Annotated[str | None, Parameter(help="Everybody without an own one, if not given.")] = None,
    /,
    *,
    limits: Limits = NO_LIMITS,
    weight: Annotated[
        float | None, read_by(weight), Parameter(help="Share of a model: twice the weight, twice the share.")
    ] = None,
    reset: Annotated[
        bool, Parameter(negative="", help="The account has the same as everybody again.")
    ] = False,
    common: Common = COMMON,
    layout: Here,
) -> int:
    """What an account may send, or what everybody may."""
    change = quotas.Change(limits.changes(), weight)
    if reset and (change or not email):
        raise BadUsage("reset_alone", "--reset takes an account's own allowance away: name just the account.")
    async with _session(common, layout) as session:
        if reset and email:
            await quotas.reset_allowance(session.connection, email)
        elif change:
            await quotas.set_allowance(session.connection, email, change)
        return await _show_quota(session, email)


@APP.command
async def watch(*, common: Common = COMMON, layout: Here) -> int:
    """A live view in the terminal; Ctrl-C ends it."""
    return await live_view.watch(find(common.database_url, layout), terminal())


@contextlib.asynccontextmanager
async def _session(common: Common, layout: Layout) -> AsyncIterator[Session]:
    async with connected(find(common.database_url, layout)) as connection:
        yield Session(connection, terminal(), common.json)


async def _show_quota(session: Session, email: str | None) -> int:
    allowance = await quotas.read_allowance(session.connection, email)
    own = [] if email else await quotas.read_own(session.connection)
    if not session.answer({**asdict(allowance), **({} if email else {"own_allowances": own})}):
        tables.show_allowance(session.console, allowance, own)
    return 0


async def _cancel_all(session: Session, state: OpenState, wanted: Wanted, *, yes: bool) -> int:
    """Those that are in this state now, and still are when it is their turn."""
    found = await control.find_open(session.connection, wanted)
    what = f"{number(len(found))} {state} requests"
    if found and not yes and not _agreed(session, f"Cancel {what}?", f"This cancels {what}."):
        return EXIT_FAILED
    cancelled = 0
    with session.console.status(f"Cancelling {what}"):
        async for was_cancelled in control.cancel_all(session.connection, found, state):
            cancelled += was_cancelled
    if not session.answer({"found": len(found), "cancelled": cancelled}):
        rest = f"; {number(len(found) - cancelled)} had gone on" if cancelled < len(found) else ""
        session.done(f"{number(cancelled)} cancelled{rest}." if found else "No request is like that.")
    return 0


async def _redrive(session: Session, wanted: WantedDead, *, yes: bool) -> int:
    count = await control.count_dead(session.connection, wanted)
    what = f"{number(count)} failed requests again"
    if count and not yes and not _agreed(session, f"Queue {what}?", f"This queues {what}."):
        return EXIT_FAILED
    queued = 0
    with session.console.status(f"Queueing {number(count)} requests again"):
        async for was_queued in control.redrive(session.connection, wanted):
            queued += was_queued
    if not session.answer({"dead": count, "queued": queued}):
        session.done(f"{number(queued)} queued again." if count else "No dead letters.")
    return 0


def _agreed(session: Session, question: str, otherwise: str) -> bool:
    """Only a person can agree. Raises BadUsage where there is none."""
    if not (sys.stdin.isatty() and session.console.is_terminal):
        raise BadUsage("confirmation_needed", f"{otherwise} Say --yes for it.")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's would wait for the answer
    try:
        said = session.console.input(f"{question} (y/N) ")
    except EOFError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return said.lower().startswith("y")


def _tell(session: Session, answers: list[Answer], what: str) -> int:
    if not session.answer(answers):
        for answer in answers:
            if answer.code:
                session.refused(answer)
            else:
                session.done(f"{short(answer.id)} {what}")
    return EXIT_FAILED if any(answer.code for answer in answers) else 0


def _tell_pauses(session: Session, pauses: Pauses) -> int:
    if not session.answer(pauses):
        session.console.print(paused(pauses) or note("Nothing is paused."))
        if pauses.everything or pauses.models:
            session.console.print(
                note(f"What runs ends ({number(pauses.running)}); requests are still accepted.")
            )
    return 0
