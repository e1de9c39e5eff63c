"""What runs in a child process: piece of work after piece of work, each within its budget of processor time.

It holds no secret, no socket and no signal handler of its own, and ends with the process that has started it.
"""

import contextlib
import ctypes
import gc
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import IO

from listener.offload import frames

PR_SET_PDEATHSIG = 1
OOM_SCORE = "500"  # of 1000: beside a database, too


def main(parent: int, tables: int, cpu_seconds: float, memory_mb: int) -> None:
    """Answer what comes in on stdin until it is closed."""
    for number in (signal.SIGTERM, signal.SIGINT):  # a manager may send them to the whole group
        signal.signal(number, signal.SIG_IGN)
    _end_with(parent)
    inbox, outbox = _pipes()
    _prepare(tables)
    _limit_memory(memory_mb)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            frames.write(outbox, _answer(frames.read(inbox), cpu_seconds))


def _answer(question: bytes, cpu_seconds: float) -> bytes:
    """The packed answer to a packed question. Reading that may import modules, which is nobody's to pay.

    The kernel ends the process when its time is up, whatever it does: a handler of ours would wait for a
    pattern or a sort to come back.
    """
    try:
        work, arguments = frames.unpack(question)
        signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
        return frames.pack(("done", work(*arguments)))
    except MemoryError:
        return frames.pack(("costly", "memory"))
    except Exception as error:
        where = "".join(traceback.format_tb(error.__traceback__))
        return frames.pack(("raised", (type(error).__name__, where)))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _end_with(parent: int) -> None:
    """Also when it is killed: whoever only waits for the end of stdin goes on computing until then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(0)


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Stdin and stdout for us alone: what else is printed goes where errors go."""
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return inbox, outbox


def _prepare(tables: int) -> None:
    """What every piece of work needs, before the memory that it may take is counted."""
    from listener.checks import report  # noqa: F401 (it imports most of what reads a text)
    from listener.text import classifier

    classifier.map_tables(tables)
    gc.freeze()


def _limit_memory(megabytes: int) -> None:
    """And where the machine itself has too little, the kernel is to choose us before our parent."""
    with contextlib.suppress(OSError):  # no /proc
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
