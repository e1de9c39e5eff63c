"""How the queue looks on a terminal: calm aligned tables, no frames, and nothing that a user's text could do
to the terminal. Knows no database."""

import dataclasses
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from precis.queue.control import Pauses

ID_DIGITS = 8
PIPE_WIDTH = 200  # for what reads no terminal: nothing is cut off
UNITS = (("d", 86400.0, 172800.0), ("h", 3600.0, 7200.0), ("min", 60.0, 120.0))  # name, seconds, from when
BYTES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
STYLES = {
    "queued": "yellow",
    "scheduled": "blue",
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "cancelled": "dim",
    "retried": "yellow",
    "released": "dim",
    "rescued": "magenta",
}

Cell = str | Text
Pairs = list[tuple[str, Cell]]
Side = Literal["left", "right"]


def terminal() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)


def clean(text: str | None) -> str:
    """What others have written, without anything that moves the cursor or turns the line round."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text or "")


def short(identifier: object) -> str:
    return str(identifier)[:ID_DIGITS]


def span(seconds: float | None) -> str:
    """A length of time in one unit: 0.4 s, 45 s, 12 min, 7 h, 3 d."""
    if seconds is None:
        return ""
    for name, unit, least in UNITS:
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.{1 if seconds < 9.95 else 0}f} s"


def moment(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if at else ""


def stamp(at: datetime | None) -> str:
    """A moment of the last months, for a column that says UTC."""
    return at.astimezone(UTC).strftime("%m-%d %H:%M:%S") if at else ""


def clock(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%H:%M:%S") if at else ""


def size(count: int | None) -> str:
    """Bytes in the largest unit that they fill; exact below a KiB."""
    if count is None:
        return "no limit"
    for name, unit in BYTES:
        if count >= unit:
            return f"{count / unit:,.1f} {name}".replace(".0 ", " ")
    return f"{count} bytes"


def number(count: int | None) -> str:
    return "no limit" if count is None else f"{count:,}"


def document(value: Any) -> str:
    """JSON for scripts; escaped, so that it is safe on a terminal as well."""
    return json.dumps(value, default=_plain, indent=2)


def state(name: str) -> Text:
    return Text(name, STYLES.get(name, ""))


def table(*columns: str, rows: Iterable[Sequence[Cell]]) -> Table:
    """Columns by name: one with a blank before it stands to the right, one with a blank behind it gives way
    when the terminal is narrow."""
    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in columns:
        side: Side = "right" if name.startswith(" ") else "left"
        grid.add_column(name.strip(), justify=side, no_wrap=not name.endswith(" "), overflow="ellipsis")
    for row in rows:
        grid.add_row(*(_on_one_line(cell) for cell in row))
    return grid


def pairs(rows: Pairs) -> Table:
    """Names and values, those that there are; a long value goes on below itself."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value:
            grid.add_row(name, value)
    return grid


def note(text: str) -> Text:
    return Text(text, style="dim")


def paused(pauses: Pauses) -> Text:
    """What is paused, empty if nothing is."""
    if pauses.everything:
        return Text(f"Everything is paused since {moment(pauses.everything)}.", style="yellow")
    names = ", ".join(map(clean, pauses.models))
    return Text(f"Paused: {names}." if names else "", style="yellow")


def _on_one_line(cell: Cell) -> Text:
    text = Text(cell) if isinstance(cell, str) else cell
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.isoformat() if isinstance(value, datetime) else str(value)
