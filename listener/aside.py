"""Where a text is prepared: beside the loop, which has a lease to renew and calls to begin, unless it is
short.

A thread costs some tenths of a millisecond and a turn of the interpreter; a short text takes less.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORT_CHARACTERS = 2000


async def aside(text: str, work: Callable[[], T]) -> T:
    """What `work` on the text returns. It is to take less than a millisecond for a short one."""
    return work() if len(text) <= SHORT_CHARACTERS else await asyncio.to_thread(work)
