"""`precis summarize` and `precis shorten`: one text through a running stack. The result goes to standard
output, what is said about it to standard error."""

import asyncio
import codecs
import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.text import Text

from listener.text.words import count_words
from precis import streams
from precis.client.api import Client, Row
from precis.client.arguments import NO_WISHES, Style, Task, Wishes
from precis.client.follower import Follower
from precis.client.progress import Shown, view, watch
from precis.faults import EXIT_FAILED, BadUsage, NotRunning, OutputLost, RequestFailed
from precis.layout import expanded

ASSUMED_SHARE = 0.2  # of the source, for the bar alone, where no length was asked for
ASSUMED_SHORTER = 0.5
MOST_BYTES = 4 << 20  # of a file: more than the service takes, in any encoding
MARKS = (  # the longer ones first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
HOW_TO_CONVERT = "Convert it first; older files of Windows often are in cp1252: iconv -f cp1252 -t utf-8"


@dataclass(frozen=True, slots=True)
class Question:
    task: Task
    name: str
    text: str
    wishes: Wishes = NO_WISHES
    style: Style | None = None

    def request(self) -> Row:
        wishes = self.wishes
        options = {
            "target_words": wishes.words,
            "target_ratio": wishes.ratio,
            "style": self.style,
            "language": wishes.language and readable(wishes.language),
            "model": wishes.model and readable(wishes.model),
        }
        given = {name: value for name, value in options.items() if value is not None}
        return {"task": self.task, "title": self.name[:300], "text": self.text, **given}

    def expected_words(self) -> int:
        share = self.wishes.ratio or (ASSUMED_SHARE if self.task == "summarize" else ASSUMED_SHORTER)
        return self.wishes.words or max(1, round(count_words(self.text) * share))

    def shown(self) -> Shown:
        return Shown(f"{self.task} {self.name}", self.expected_words())


def read_text(name: str) -> tuple[str, str]:
    """A title and the text of a file, or of standard input for `-`. Raises BadUsage."""
    title = "standard input" if name == "-" else readable(Path(name).name)
    try:
        with _opened(name) as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        why = error.strerror or error
        raise BadUsage("file_unreadable", f"{readable(name)} cannot be read: {why}.") from error
    if len(raw) > MOST_BYTES:
        raise BadUsage("text_too_large", f"{title} is larger than any text may be. Give a part of it.")
    text = decoded(raw)
    if text is None:
        raise BadUsage("not_text", f"{title} is not a text in UTF-8. {HOW_TO_CONVERT}")
    if not text.strip():
        raise BadUsage("empty_text", f"{title} holds no text.")
    return title, text


def _opened(name: str) -> contextlib.AbstractContextManager[BinaryIO]:
    return contextlib.nullcontext(sys.stdin.buffer) if name == "-" else expanded(name).open("rb")


def decoded(raw: bytes) -> str | None:
    """A text in UTF-8, or in what its byte order mark names; None if it is none."""
    encodings = (name for mark, name in MARKS if raw.startswith(mark))
    try:
        text = raw.decode(next(encodings, "utf-8"))
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def readable(name: str) -> str:
    """A name as text. The bytes that are none in a name of another encoding are shown as such."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


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
    except NotRunning as fault:
        kept = "".join(f" The request is kept: `precis result {request_id}`." for request_id in requests)
        raise NotRunning(fault.code, f"{fault.message}{kept}") from fault
    except asyncio.CancelledError:
        await asyncio.gather(*(client.cancel(request_id) for request_id in requests), return_exceptions=True)
        raise
    finally:
        follower.close()
    if len(rows) < len(requests):
        raise RequestFailed("request_deleted", "The request was deleted while it ran.")
    return [(question, shown, rows[request_id]) for request_id, (question, shown) in requests.items()]


async def run(client: Client, question: Question, *, as_json: bool) -> int:
    console = Console(stderr=True, highlight=False)
    [(_, shown, row)] = await ask(client, [question], console)
    code = put_out(row, as_json=as_json)
    if not as_json:
        console.print(Text(f"\n{about(question, shown, row)}", "dim"), soft_wrap=True)
    return code


async def show(client: Client, request_id: str, *, as_json: bool) -> int:
    """A request that was asked before. Raises RequestFailed if there is none."""
    rows = await client.fetch({request_id})
    if not rows:
        raise RequestFailed("not_found", f"There is no request {request_id} here.")
    if rows[0]["state"] in ("queued", "running") and not as_json:
        raise RequestFailed("not_done", f"The request is {rows[0]['state']}. Ask again later.")
    return put_out(rows[0], as_json=as_json)


def put_out(row: Row, *, as_json: bool) -> int:
    """What a request has come to, on standard output. Raises RequestFailed, OutputLost."""
    if not as_json and row["state"] != "done":
        raise RequestFailed(
            row["error_code"] or row["state"], row["error_message"] or f"The request was {row['state']}."
        )
    escaped = not streams.takes_all_letters()
    text = json.dumps(row, ensure_ascii=escaped, indent=2) if as_json else row["result"].strip()
    try:
        print(text)
        streams.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        why = f"The result could not be written ({error.strerror})."
        raise OutputLost("output_lost", f"{why} It is kept: `precis result {row['id']}`.") from error
    return 0 if row["state"] == "done" else EXIT_FAILED


def about(question: Question, shown: Shown, row: Row) -> str:
    """One line on a finished request: model, lengths, time, and the checks that it failed."""
    words = f"{count_words(question.text)} → {count_words(row['result'] or '')} words"
    return f"{row['model']} · {words} · {shown.states[-1][1]:.1f} s · {_told(row['checks'] or {})}"


def _told(checks: Mapping[str, Any]) -> str:
    """The checks that were not passed, and those that could not be made."""
    made = {name: check for name, check in checks.items() if isinstance(check, dict)}
    failed = ", ".join(name for name, check in made.items() if check.get("ok") is False)
    unknown = ", ".join(name for name, check in made.items() if "unknown" in check)
    told = [f"look at: {failed}" if failed else "", f"not checked: {unknown}" if unknown else ""]
    return "; ".join(filter(None, told)) or "all checks passed"
