"""What a person sees of a stack that starts, runs and stops: plain aligned lines, with colour on a
terminal."""

import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from precis.faults import Fault

NAME_WIDTH = 16


class Screen:
    """Lines on standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)

    def say(self, text: str, style: str = "") -> None:
        self.console.print(Text(text, style=style))

    def note(self, text: str) -> None:
        self.say(f"  {text}", "dim")

    def done(self, text: str) -> None:
        self.console.print(Text.assemble("  ", ("✓ ", "green"), text))

    def ready(self, name: str, detail: str, seconds: float) -> None:
        line = Text.assemble(
            "  ", ("✓ ", "green"), f"{name:<{NAME_WIDTH}}", (f"{seconds:5.1f} s  ", "dim"), detail
        )
        line.rstrip()
        self.console.print(line)

    def died(self, name: str, how: str, retry_seconds: float) -> None:
        self._stamped(f"{name} {how}; starting it again in {retry_seconds:g} s", "yellow")

    def hangs(self, name: str) -> None:
        self._stamped(f"{name} runs and answers nothing; it is ended", "yellow")

    def again(self, name: str) -> None:
        self._stamped(f"{name} is ready again", "green")

    def pairs(self, pairs: list[tuple[str, str]]) -> None:
        width = max(len(name) for name, _ in pairs) + 2
        for name, value in pairs:
            self.console.print(Text.assemble("  ", (f"{name:<{width}}", "dim"), value))

    def _stamped(self, text: str, style: str) -> None:
        self.console.print(Text.assemble((f"{time.strftime('%H:%M:%S')}  ", "dim"), (text, style)))


def show_fault(fault: Fault, *, home: Path | None = None) -> None:
    """On standard error: what happened, and what to do."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for line in fault.lines:
        console.print(Text(f"  | {line}", style="dim"))
    message = fault.message.replace(f"{home}/", "") if home else fault.message
    console.print(Text.assemble(("precis: ", "bold red"), message, (f"  [{fault.code}]", "dim")))
