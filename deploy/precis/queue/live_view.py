"""`precis queue watch`: the whole queue on one screen, looked at once a second until Ctrl-C. A database that
goes away is waited for."""

import asyncio
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from precis.faults import BadUsage, NotRunning
from precis.queue.connection import connected, place
from precis.queue.format import Cell, clean, clock, note, number, paused, short, span, table
from precis.queue.overview import MOST_COUNTED, Failure, Model, Overview, Running, read_overview
from precis.queue.tables import workers_table

LOOK_SECONDS = 1.0
BAR_WIDTH = 12
FEWEST_RUNNING = 3  # rows that are shown on the smallest screen
MOST_FAILURES = 5
SECTION_LINES = 2  # its head, and the blank line before it


async def watch(url: str, console: Console) -> int:
    """Looks until it is interrupted, which is the way to end it and no error. Raises BadUsage without a
    terminal, NotRunning if the database cannot be reached to begin with."""
    if not console.is_terminal:
        raise BadUsage("no_terminal", "A live view needs a terminal. For scripts: `precis queue --json`.")
    try:
        async with connected(url) as connection:
            first = draw(await read_overview(connection, limit=console.height), console, place(url))
        with Live(first, console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    await _look(url, console, live)
                except NotRunning as fault:
                    live.update(Group(Text(fault.message, "red"), note("Looking again.")), refresh=True)
                await asyncio.sleep(LOOK_SECONDS)
    except asyncio.CancelledError:
        return 0


async def _look(url: str, console: Console, live: Live) -> None:
    """Until the connection is lost."""
    async with connected(url) as connection:
        while True:
            overview = await read_overview(connection, limit=console.height)
            live.update(draw(overview, console, place(url)), refresh=True)
            await asyncio.sleep(LOOK_SECONDS)


def draw(overview: Overview, console: Console, where: str) -> RenderableType:
    """One screen of it. What runs gets the lines that the rest leaves."""
    failures = overview.failures[:MOST_FAILURES]
    others = sum(len(rows) + SECTION_LINES for rows in (overview.models, overview.workers, failures) if rows)
    free = console.height - others - 2 * SECTION_LINES - 1
    running = overview.running[: max(FEWEST_RUNNING, free)]
    sections: list[RenderableType] = [Group(_head(where), *_paused(overview)), _models(overview.models)]
    if running:
        hidden = overview.pauses.running - len(running)
        more = [note(f"and {number(hidden)} more")] if hidden > 0 else []
        sections.append(Group(_running(running), *more))
    sections.append(workers_table(overview.workers, wide=False) if overview.workers else note("No worker."))
    if failures:
        sections.append(_failures(failures))
    return Group(*(part for section in sections for part in (section, Text())))


def bar(share: float) -> Text:
    filled = round(share * BAR_WIDTH)
    rest = BAR_WIDTH - filled
    return Text.assemble(("━" * filled, "cyan"), ("━" * rest, "bright_black"), f" {share:4.0%}")


def _head(where: str) -> Text:
    return Text.assemble(("The queue", "bold"), (f"  {where}, {clock(datetime.now(UTC))} UTC", "dim"))


def _paused(overview: Overview) -> list[Text]:
    text = paused(overview.pauses)
    return [text] if text else []


def _models(models: list[Model]) -> RenderableType:
    names = ("model ", " queued", " next waits", " scheduled", " running", " leased", "")
    return table(*names, rows=[_model(model) for model in models]) if models else note("No model yet.")


def _model(model: Model) -> list[Cell]:
    slots = f"{model.leased} of {model.slots}"
    numbers = [_count(model.scheduled), _count(model.running), slots]
    said = Text("paused" if model.paused else "", "yellow")
    queued = Text(_count(model.queued), "yellow" if model.queued else "dim")
    return [clean(model.name), queued, span(model.next_seconds), *numbers, said]


def _count(count: int) -> str:
    return f"{number(count)}+" if count >= MOST_COUNTED else number(count)


def _running(running: list[Running]) -> RenderableType:
    rows = map(_job, running)
    return table("running", "owner ", "model ", "worker ", " for", "progress", rows=rows)


def _failures(failures: list[Failure]) -> RenderableType:
    return table("failed", "owner ", "model ", " when", "code", rows=map(_failure, failures))


def _job(job: Running) -> list[Cell]:
    who: list[Cell] = [short(job.id), clean(job.owner), clean(job.model), clean(job.worker)]
    return [*who, span(job.seconds), bar(job.progress)]


def _failure(failure: Failure) -> list[Cell]:
    who: list[Cell] = [short(failure.id), clean(failure.owner), clean(failure.model)]
    return [*who, f"{span(failure.ago_seconds)} ago", Text(failure.error_code, "red")]
