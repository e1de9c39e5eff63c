"""`precis demo`: a real document through the whole stack, two tasks at once, with what came out and how
long it took."""

import asyncio
from pathlib import Path

from rich.padding import Padding
from rich.text import Text

from precis.ask import Question, about, ask, read_text
from precis.client import Client
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
        Question("summarize", title, text, words=SUMMARY_WORDS),
        Question("shorten", title, text, ratio=SHORTEN_RATIO),
    ]
    answers = await ask(client, questions, screen.console)
    for question, shown, row in answers:
        screen.say(f"\n{shown.label}", "bold")
        if row["state"] != "done":
            raise RequestFailed(
                row["error_code"] or row["state"], row["error_message"] or f"The request was {row['state']}."
            )
        body, left = _head(row["result"].strip())
        screen.console.print(Padding(Text(body), (0, 2)), soft_wrap=False)
        if left:
            screen.note(f"... and {left} more lines")
        screen.say("")
        screen.note(about(question, shown, row))
        screen.note(" → ".join(f"{state} {seconds:.2f} s" for state, seconds in shown.states))


def _head(text: str) -> tuple[str, int]:
    lines = text.splitlines()
    return "\n".join(lines[:SHOWN_LINES]), max(0, len(lines) - SHOWN_LINES)
