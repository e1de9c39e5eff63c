"""`precis queue`, for operators: hands each command to the modules that read and steer the queue, and says
what came of it. A script gets JSON where it asks for it."""

import argparse
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.text import Text

from precis.faults import EXIT_FAILED, BadUsage
from precis.layout import Layout
from precis.queue import control, live_view, quotas, requests, tables
from precis.queue.connection import Connection, connected, find
from precis.queue.control import Answer, Pauses
from precis.queue.format import clean, document, note, number, paused, short, terminal
from precis.queue.overview import read_workers
from precis.queue.requests import Wanted, WantedDead
from precis.setup.settings import PlaceSettings

Arguments = argparse.Namespace


@dataclass(frozen=True, slots=True)
class Desk:
    """What a command works with."""

    connection: Connection
    console: Console
    arguments: Arguments

    def answer(self, value: Any) -> bool:
        """Prints it for a script, if that is what was asked for."""
        if self.arguments.json:
            print(document(value))
        return bool(self.arguments.json)

    def done(self, text: str) -> None:
        self.console.print(Text.assemble(("✓ ", "green"), text), soft_wrap=True)

    def refused(self, answer: Answer) -> None:
        words = f"{short(answer.id)}: {clean(answer.message)}"
        self.console.print(Text.assemble(("✗ ", "red"), words, (f"  [{answer.code}]", "dim")), soft_wrap=True)


async def run(arguments: Arguments, layout: Layout, _: PlaceSettings) -> int:
    """One command on one connection."""
    url, console = find(arguments.database_url, layout), terminal()
    if arguments.command == "watch":
        return await live_view.watch(url, console)
    async with connected(url) as connection:
        return await COMMANDS[arguments.command](Desk(connection, console, arguments))


async def show_list(desk: Desk) -> int:
    given = desk.arguments
    wanted = Wanted(given.limit, given.state, given.owner, given.model)
    rows = await requests.read_rows(desk.connection, wanted)
    if not desk.answer(rows):
        if text := paused(await control.read_pauses(desk.connection)):
            desk.console.print(text)
        tables.show_rows(desk.console, rows, limit=given.limit)
    return 0


async def show_one(desk: Desk) -> int:
    request = await requests.request_id(desk.connection, desk.arguments.id)
    row, detail, attempts = await requests.read_one(desk.connection, request)
    if not desk.answer({**asdict(row), **asdict(detail), "attempts": attempts}):
        tables.show_one(desk.console, row, detail, attempts)
    return 0


async def show_dead(desk: Desk) -> int:
    wanted = WantedDead(desk.arguments.limit, desk.arguments.since, desk.arguments.code)
    by_code, rows = await requests.read_dead(desk.connection, wanted)
    if not desk.answer({"codes": by_code, "requests": rows}):
        tables.show_dead(desk.console, by_code, rows)
    return 0


async def cancel(desk: Desk) -> int:
    answers = [await control.cancel(desk.connection, given) for given in desk.arguments.ids]
    return _tell(desk, answers, "cancelled")


async def retry(desk: Desk) -> int:
    given = desk.arguments
    if given.dead == bool(given.ids) or (not given.dead and (given.code or given.since)):
        raise BadUsage("ids_or_dead", "Name the requests, or say --dead for all that have failed.")
    if given.dead:
        return await _redrive(desk)
    answers = [await control.retry(desk.connection, each) for each in given.ids]
    return _tell(desk, answers, "queued again")


async def pause(desk: Desk) -> int:
    return _tell_pauses(desk, await control.pause(desk.connection, desk.arguments.model))


async def resume(desk: Desk) -> int:
    return _tell_pauses(desk, await control.resume(desk.connection, desk.arguments.model))


async def workers(desk: Desk) -> int:
    found = await read_workers(desk.connection)
    if not desk.answer(found):
        tables.show_workers(desk.console, found)
    return 0


async def drain(desk: Desk) -> int:
    on = not desk.arguments.off
    worker = await control.drain(desk.connection, desk.arguments.worker, on=on)
    if not desk.answer({"worker": worker, "draining": on}):
        what = "claims nothing more; what it runs ends." if on else "claims again."
        desk.done(f"Worker {worker} {what}")
    return 0


async def quota(desk: Desk) -> int:
    given = desk.arguments
    change = quotas.Change(given.limits or {}, given.weight)
    if given.reset and (change or not given.email):
        raise BadUsage("reset_alone", "--reset takes an account's own allowance away: name just the account.")
    if given.reset:
        await quotas.reset_allowance(desk.connection, given.email)
    elif change:
        await quotas.set_allowance(desk.connection, given.email, change)
    allowance = await quotas.read_allowance(desk.connection, given.email)
    own = [] if given.email else await quotas.read_own(desk.connection)
    if not desk.answer({**asdict(allowance), **({} if given.email else {"own_allowances": own})}):
        tables.show_allowance(desk.console, allowance, own)
    return 0


async def _redrive(desk: Desk) -> int:
    given = desk.arguments
    wanted = WantedDead(None, given.since, given.code)
    count = await control.count_dead(desk.connection, wanted)
    if count and not given.yes and not _agreed(desk, count):
        return EXIT_FAILED
    queued = 0
    with desk.console.status(f"Queueing {number(count)} requests again"):
        async for was_queued in control.redrive(desk.connection, wanted):
            queued += was_queued
    if not desk.answer({"dead": count, "queued": queued}):
        desk.done(f"{number(queued)} queued again." if count else "No dead letters.")
    return 0


def _agreed(desk: Desk, count: int) -> bool:
    """Only a person can agree."""
    if not (sys.stdin.isatty() and desk.console.is_terminal):
        raise BadUsage(
            "confirmation_needed", f"This queues {number(count)} requests again. Say --yes for it."
        )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the loop's would wait for the answer
    try:
        said = desk.console.input(f"Queue {number(count)} failed requests again? (y/N) ")
    except EOFError:
        return False
    finally:
        signal.signal(signal.SIGINT, before)
    return said.lower().startswith("y")


def _tell(desk: Desk, answers: list[Answer], what: str) -> int:
    if not desk.answer(answers):
        for answer in answers:
            if answer.code:
                desk.refused(answer)
            else:
                desk.done(f"{short(answer.id)} {what}")
    return EXIT_FAILED if any(answer.code for answer in answers) else 0


def _tell_pauses(desk: Desk, pauses: Pauses) -> int:
    if not desk.answer(pauses):
        desk.console.print(paused(pauses) or note("Nothing is paused."))
        if pauses.everything or pauses.models:
            desk.console.print(
                note(f"What runs ends ({number(pauses.running)}); requests are still accepted.")
            )
    return 0


COMMANDS: dict[str, Callable[[Desk], Awaitable[int]]] = {
    "list": show_list,
    "show": show_one,
    "cancel": cancel,
    "retry": retry,
    "dead": show_dead,
    "pause": pause,
    "resume": resume,
    "workers": workers,
    "drain": drain,
    "quota": quota,
}
