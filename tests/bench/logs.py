"""Workers' logs, read as they are written: a line tells that a request has ended. Cheaper than to ask the
database, which is what is measured."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO

from tests.part import Part

LOOK_AGAIN_SECONDS = 0.001
PATIENCE_SECONDS = 60.0


@dataclass(slots=True)
class Logs:
    """Of one or more workers, from now on."""

    files: Sequence[IO[str]]
    rests: list[str]

    def await_done(self, requests: set[str]) -> None:
        """Until each of them has ended well; what else ends meanwhile is passed over."""
        missing = set(requests)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while missing:
            for line in self._lines():
                entry = json.loads(line)
                if entry.get("event") == "request.done":
                    missing.discard(entry["request"])
            if missing:
                assert time.monotonic() < deadline, f"not done: {missing}"
                time.sleep(LOOK_AGAIN_SECONDS)

    def _lines(self) -> Iterator[str]:
        """The whole lines that have come."""
        for number, file in enumerate(self.files):
            *lines, self.rests[number] = (self.rests[number] + file.read()).split("\n")
            yield from (line for line in lines if line.startswith("{"))


@contextmanager
def following(*workers: Part) -> Iterator[Logs]:
    with ExitStack() as until_end:
        files = [until_end.enter_context(worker.log.open()) for worker in workers]
        for file in files:
            file.seek(0, 2)
        yield Logs(files, [""] * len(files))
