"""Work on a text that never ends, or ends badly: for the children of a pool."""

import os
import signal
import time


def spin(text: str) -> int:
    """For ever, without a turn of the interpreter: as a pattern does that runs away."""
    return sum(range(10**12))


def swallow(text: str) -> int:
    """More memory than there is."""
    return len(bytearray(10**10))


def crash(text: str) -> None:
    """As an extension does that is broken, or whom the kernel has chosen to end."""
    os.kill(os.getpid(), signal.SIGKILL)


def stumble(text: str) -> None:
    """A mistake that quotes the text."""
    raise ValueError(f"cannot read {text}")


def who(text: str) -> int:
    """The process that this runs in."""
    return os.getpid()


def overflow(text: str) -> str:
    """More than goes into a pipe."""
    return text * 200


def burn(seconds: float) -> int:
    """Takes so much processor time; the process that this runs in."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return os.getpid()
