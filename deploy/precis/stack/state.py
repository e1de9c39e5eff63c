"""What a running stack notes about itself on disk, for `precis status` and for the next start after a
crash."""

import fcntl
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from precis.faults import AlreadyRunning
from precis.stack.process import birth, outlasting, send

LEFTOVER_SECONDS = 15.0


@dataclass(slots=True)
class Record:
    """One part. `born` tells its process from a later one with the same pid."""

    name: str
    pid: int | None = None
    born: str | None = None
    ready: bool = False
    detail: str = ""
    restarts: int = 0

    def alive(self) -> bool:
        return self.pid is not None and self.born is not None and birth(self.pid) == self.born


@dataclass(slots=True)
class State:
    pid: int = 0
    model_url: str = ""
    builtin_engine: bool = False
    parts: list[Record] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What was last written; an empty state if that is nothing, or not ours to understand."""
        try:
            content = json.loads(path.read_text())
            parts = [Record(**part) for part in content.pop("parts")]
            return cls(**content, parts=parts)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def write(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=1))
        temporary.replace(path)


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """The right to run the stack of this folder. The kernel gives it back when we die, however we die."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(
            "already_running", "This stack is running already. See `precis status`."
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether a stack of this folder runs now."""
    try:
        with exclusive(path):
            return False
    except AlreadyRunning:
        return True


def clear_leftovers(path: Path) -> list[str]:
    """Waits for parts that outlived their `precis`, and kills those that do not end. Each was asked to stop
    by its parent's death already, and asking a second time would cut its grace short."""
    left = {record.pid: record.name for record in State.read(path).parts if record.pid and record.alive()}
    for pid in outlasting(left, LEFTOVER_SECONDS):
        send(pid, signal.SIGKILL)
    return list(left.values())
