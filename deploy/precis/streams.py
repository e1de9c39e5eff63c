"""Standard input, output and error, however the command was started: closed, in a narrow encoding, on a full
disk."""

import contextlib
import io
import os
import re
import sys

INPUT, OUTPUT, ERROR = 0, 1, 2
SIZES = ("COLUMNS", "LINES")


def make_usable() -> None:
    """Each stream is there and takes any text: what cannot be shown becomes a question mark. A closed one is
    taken up by nothing else, and writing to a closed standard output fails. The screen's size is a size."""
    for descriptor in (INPUT, OUTPUT, ERROR):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR if descriptor == ERROR else os.O_RDONLY)  # takes the lowest number
    for name in SIZES:  # rich believes any of these
        if not re.fullmatch(r"[1-9][0-9]{0,4}", os.environ.get(name, "1"), re.ASCII):
            del os.environ[name]
    sys.stdin = sys.stdin or _opened(INPUT, "r")
    sys.stdout = sys.stdout or _opened(OUTPUT, "w")
    sys.stderr = sys.stderr or _opened(ERROR, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def takes_all_letters() -> bool:
    """Whether standard output can show any text."""
    return sys.stdout.encoding.lower().replace("-", "") == "utf8"


def flush() -> None:
    """Raises OSError where standard output does not take what was written."""
    sys.stdout.flush()


def silence(*descriptors: int) -> None:
    """Nothing more comes through, nor complains: not even the interpreter's last flush."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in descriptors:
            os.dup2(nowhere, descriptor)
        os.close(nowhere)


def _opened(descriptor: int, mode: str) -> io.TextIOWrapper:
    raw = open(descriptor, f"{mode}b", closefd=False)  # noqa: SIM115 - as long as the process
    return io.TextIOWrapper(raw, encoding="utf-8")
