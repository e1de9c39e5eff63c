"""How the command ends: with an exit code, and one sentence where something went wrong, whatever it was. What
nobody has foreseen is noted in a file; PRECIS_TRACEBACK=1 shows it at once."""

import asyncio
import errno
import logging
import os
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from precis import streams
from precis.faults import EXIT_INTERRUPTED, EXIT_SOFTWARE, BadUsage, Fault
from precis.layout import locate
from precis.screen import show_fault

VARIABLE = "PRECIS_TRACEBACK"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Unforeseen(Fault):
    exit_code = EXIT_SOFTWARE


def told(run: Callable[[], int]) -> int:
    """Runs it. Every way out of it is told, and what it printed has arrived, or that is told too."""
    if not os.environ.get(VARIABLE):
        _hush()
    try:
        code = _ended(run)
        streams.flush()
        return code
    except BaseException as error:
        return _tell(error)


def _ended(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as asked:  # by rich, whose reader has gone
        return asked.code if isinstance(asked.code, int) else 0


def _hush() -> None:
    """What fails beside the first failure, or because of it, is no news."""
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda _: None
    threading.excepthook = lambda _: None


def _tell(error: BaseException) -> int:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, (KeyboardInterrupt, asyncio.CancelledError)):
        streams.silence(streams.OUTPUT)
        return EXIT_INTERRUPTED
    if isinstance(error, BrokenPipeError):  # the reader has gone, and wants no more
        streams.silence(streams.OUTPUT, streams.ERROR)
        return EXIT_INTERRUPTED
    if os.environ.get(VARIABLE):
        traceback.print_exception(error)
    fault = _fault(error)
    try:
        show_fault(fault, home=_home())
        streams.flush()
    except OSError:
        pass
    streams.silence(streams.OUTPUT)
    return fault.exit_code


def _fault(error: BaseException) -> Fault:
    """The sentence for it."""
    if isinstance(error, Fault):
        return error
    if isinstance(error, OSError):
        return _systems(error)
    if isinstance(error, UnicodeEncodeError):  # an argument, or a variable, in another encoding
        return BadUsage("not_letters", f"{ascii(error.object)[:60]} is not in UTF-8. Write it anew.")
    if isinstance(error, MemoryError):
        return Fault("out_of_memory", "There is not enough memory for this.")
    words = f"Precis has failed in a way that nobody has foreseen ({type(error).__name__})."
    return Unforeseen("internal", f"{words} {_noted(error)}")


def _systems(error: OSError) -> Fault:
    """The operating system has refused something."""
    if isinstance(error, TimeoutError) and not error.strerror:
        return Fault("too_slow", "No answer came in time. Try again.")
    what = f"{error.filename}: " if error.filename is not None else ""
    if isinstance(error, PermissionError) and what:
        return Fault("not_permitted", f"{error.filename} belongs to somebody else. Run as its owner.")
    if error.errno in FULL:
        return Fault("disk_full", f"{what}The disk is full. Make room, and run it again.")
    return Fault("system_error", f"{what}{error.strerror or error}.")


def _noted(error: BaseException) -> str:
    """Where the details are now."""
    try:
        descriptor, path = tempfile.mkstemp(prefix="precis-", suffix=".log")  # readable by us alone
        with os.fdopen(descriptor, "w", errors="replace") as file:
            file.writelines(traceback.format_exception(error))
    except OSError:
        return f"With {VARIABLE}=1 it shows the details."
    return f"The details are in {path}: please report them."


def _home() -> Path | None:
    try:
        return locate().home
    except Fault:
        return None
