"""Shows requests while they run: bars and the text so far on a terminal, a line for each change elsewhere.
Returns their rows when all have ended."""

import textwrap
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from listener.text.words import count_words
from precis.client.api import Row
from precis.client.follower import FINAL, Changed, Follower

TAIL_LINES = 6
REFRESHES_PER_SECOND = 12
STYLES = {"queued": "yellow", "running": "cyan", "done": "green", "failed": "red", "cancelled": "red"}


@dataclass(slots=True)
class Shown:
    """One request on the screen."""

    label: str
    target_words: int | None
    began: float = field(default_factory=time.monotonic)
    state: str = "queued"
    progress: float = 0.0
    text: str = ""
    states: list[tuple[str, float]] = field(default_factory=lambda: [("queued", 0.0)])

    def seconds(self) -> float:
        return self.states[-1][1] if self.state in FINAL else time.monotonic() - self.began

    def share(self) -> float | None:
        """How much is done, None if nobody can say."""
        if self.state in FINAL:
            return 1.0
        written = count_words(self.text) / self.target_words if self.target_words and self.text else 0.0
        share = min(0.99, max(self.progress, written))
        return share if share > 0 or self.state == "queued" else None


class View(Protocol):
    def __enter__(self) -> object: ...

    def __exit__(self, *exc: object) -> object: ...

    def state(self, shown: Shown) -> None: ...


async def watch(follower: Follower, requests: Mapping[str, Shown], view: View) -> dict[str, Row]:
    """Follows until all have ended. `requests` are shown by id."""
    with view:
        async for update in follower.updates(set(requests)):
            if not isinstance(update, Changed):
                requests[update.request_id].text = update.text
                continue
            shown = requests[update.row["id"]]
            shown.progress = update.row.get("progress") or shown.progress
            if update.row["state"] != shown.state:
                shown.state = update.row["state"]
                shown.states.append((shown.state, time.monotonic() - shown.began))
                view.state(shown)
    return {row["id"]: row for row in await follower.client.fetch(set(requests))}


def view(console: Console, requests: Mapping[str, Shown]) -> View:
    return LiveView(console, requests) if console.is_terminal else PlainView(console)


class PlainView:
    """For pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...

    def state(self, shown: Shown) -> None:
        self._console.print(
            Text(f"  {shown.label}: {shown.state} after {shown.states[-1][1]:.2f} s"), soft_wrap=True
        )


class LiveView:
    """For terminals. It leaves nothing behind: what came out is printed by the caller."""

    def __init__(self, console: Console, requests: Mapping[str, Shown]) -> None:
        self._console = console
        self._requests = requests
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=REFRESHES_PER_SECOND,
            get_renderable=self.draw,
        )

    def __enter__(self) -> None:
        self._live.start(refresh=True)

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def state(self, shown: Shown) -> None:
        self._live.refresh()

    def draw(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for shown in self._requests.values():
            table.add_row(*self._row(shown))
        writing = next(
            (shown for shown in self._requests.values() if shown.text and shown.state == "running"), None
        )
        return Group(table, tail(writing.text, self._console.width)) if writing else table

    def _row(self, shown: Shown) -> tuple[RenderableType, ...]:
        share = shown.share()
        mark = (
            Text("✓" if shown.state == "done" else "✗", STYLES[shown.state])
            if shown.state in FINAL
            else self._spinner
        )
        bar = ProgressBar(total=1.0, completed=share or 0.0, width=28, pulse=share is None)
        words = f"{count_words(shown.text)} words" if shown.text else ""
        return (
            mark,
            Text(shown.label),
            Text(shown.state, STYLES[shown.state]),
            bar,
            Text(f"{shown.seconds():.1f} s"),
            Text(words, "dim"),
        )


def tail(text: str, width: int) -> Text:
    """The last lines of a text as a terminal of this width breaks them."""
    lines = [
        line
        for paragraph in text.splitlines()
        for line in textwrap.wrap(paragraph, max(20, width - 6)) or [""]
    ]
    return Text(
        "\n".join(f"  │ {line}" for line in lines[-TAIL_LINES:]),
        style="dim",
        no_wrap=True,
        overflow="ellipsis",
    )
