"""`precis demo`: a real document through the whole stack, two tasks at once, with what came out and how
long it took."""

import asyncio
import textwrap
from pathlib import Path

from precis.client.api import Client
from precis.client.arguments import Wishes
from precis.client.ask import Question, about, ask, read_text
from precis.faults import RequestFailed
from precis.screen import Screen

DOCUMENT = "ARCHITECTURE.md"
SUMMARY_WORDS = 120
SHORTEN_RATIO = 0.6
SHOWN_LINES = 24


async def run(client: Client, checkout: Path, screen: Screen) -> None:
    title, text = await asyncio.to_thread(read_text, str(checkout / DOCUMENT))
    screen.say(f"\nSummarising and shortening {title}", "bold")
    questions = [
        Question("summarize", title, text, Wishes(words=SUMMARY_WORDS)),
        Question("shorten", title, text, Wishes(ratio=SHORTEN_RATIO)),
    ]
    answers = await ask(client, questions, screen.console)
    for question, shown, row in answers:
        screen.say(f"\n{shown.label}", "bold")
        if row["state"] != "done":
            raise RequestFailed(
                row["error_code"] or row["state"], row["error_message"] or f"The request was {row['state']}."
            )
        for line in excerpt(row["result"].strip(), screen.console.width):
            screen.say(f"  {line}".rstrip())
        screen.say("")
        screen.note(about(question, shown, row))
        screen.note(" → ".join(f"{state} {seconds:.2f} s" for state, seconds in shown.states))


def excerpt(text: str, width: int) -> list[str]:
    """The first lines, as a terminal of this width breaks them."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, max(20, width - 4)) or [""]]
    more = len(lines) - SHOWN_LINES
    return [*lines[:SHOWN_LINES], f"... and {more} more lines"] if more > 0 else lines
