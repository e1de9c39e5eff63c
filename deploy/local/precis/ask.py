"""`precis summarize` and `precis shorten`: one text through a running stack. The result goes to standard
output, what is said about it to standard error."""

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from listener.text.words import count_words
from precis.client import Client, Row
from precis.faults import BadUsage, RequestFailed
from precis.follow import Follower
from precis.watch import Shown, view, watch

Task = Literal["summarize", "shorten"]
ASSUMED_SHARE = 0.2  # of the source, for the bar alone, where no length was asked for
ASSUMED_SHORTER = 0.5


@dataclass(frozen=True, slots=True)
class Question:
    task: Task
    name: str
    text: str
    words: int | None = None
    ratio: float | None = None
    language: str | None = None
    model: str | None = None

    def request(self) -> Row:
        options = {
            "target_words": self.words,
            "target_ratio": self.ratio,
            "language": self.language,
            "model": self.model,
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {"task": self.task, "title": self.name[:300], "text": self.text, **given}

    def expected_words(self) -> int:
        share = self.ratio or (ASSUMED_SHARE if self.task == "summarize" else ASSUMED_SHORTER)
        return self.words or max(1, round(count_words(self.text) * share))

    def shown(self) -> Shown:
        return Shown(f"{self.task} {self.name}", self.expected_words())


def read_text(name: str) -> tuple[str, str]:
    """A title and the text of a file, or of standard input for `-`."""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).expanduser().read_bytes()
    except OSError as error:
        raise BadUsage("file_unreadable", f"{name} cannot be read: {error.strerror}.") from error
    title = "standard input" if name == "-" else Path(name).name
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise BadUsage(
            "not_text", f"{title} is not a text in UTF-8. Convert it first: only text is taken so far."
        )
    if not text.strip():
        raise BadUsage("empty_text", f"{title} holds no text.")
    return title, text


async def ask(
    client: Client, questions: list[Question], console: Console
) -> list[tuple[Question, Shown, Row]]:
    """Submits all at once and shows them until they have ended. Interrupted, it cancels them."""
    follower = Follower(client)
    await follower.open()
    requests: dict[str, tuple[Question, Shown]] = {}
    try:
        for question in questions:
            shown = question.shown()
            row = await client.submit(question.request())
            requests[row["id"]] = question, shown
        shown_by_id = {request_id: shown for request_id, (_, shown) in requests.items()}
        rows = await watch(follower, shown_by_id, view(console, shown_by_id))
    except asyncio.CancelledError:
        await asyncio.gather(*(client.cancel(request_id) for request_id in requests), return_exceptions=True)
        raise
    finally:
        follower.close()
    return [(question, shown, rows[request_id]) for request_id, (question, shown) in requests.items()]


async def run(client: Client, question: Question, *, as_json: bool) -> int:
    console = Console(stderr=True, highlight=False)
    [(_, shown, row)] = await ask(client, [question], console)
    if as_json:
        print(json.dumps(row, ensure_ascii=False, indent=2))
        return 0 if row["state"] == "done" else 1
    if row["state"] != "done":
        raise RequestFailed(
            row["error_code"] or row["state"], row["error_message"] or f"The request was {row['state']}."
        )
    print(row["result"].strip())
    console.print(Text(f"\n{about(question, shown, row)}", "dim"), soft_wrap=True)
    return 0


def about(question: Question, shown: Shown, row: Row) -> str:
    """One line on a finished request: model, lengths, time, and the checks that it failed."""
    failed = [
        name
        for name, check in (row["checks"] or {}).items()
        if isinstance(check, dict) and check.get("ok") is False
    ]
    words = f"{count_words(question.text)} → {count_words(row['result'] or '')} words"
    checks = f"look at: {', '.join(failed)}" if failed else "all checks passed"
    return f"{row['model']} · {words} · {shown.states[-1][1]:.1f} s · {checks}"
