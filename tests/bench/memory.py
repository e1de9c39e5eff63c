"""What a part holds in memory while it has nothing to do. Knows only process ids."""

from pathlib import Path

from tests.bench.figures import Figure, at_most, shown
from tests.fix_stack import Stack

GOAL_MB = 80.0
WITH_GOAL = ("listener work", "authsvc")


def measure_used(stack: Stack) -> list[Figure]:
    """Of the worker once it has worked: what tells languages apart is loaded at its first use."""
    return [shown("memory of listener work after its first requests", resident(stack.work.pid) / 1e6, "MB")]


def measure(stack: Stack) -> list[Figure]:
    """Resident memory of each of our parts, soon after it became ready."""
    figures = []
    for name in ("authsvc", "listener work", "listener events", "engine"):
        megabytes = resident(stack.parts[name].pid) / 1e6
        figure = ("memory of an idle " + name, megabytes, "MB")
        figures.append(at_most(*figure, GOAL_MB) if name in WITH_GOAL else shown(*figure))
    return figures


def resident(pid: int) -> int:
    """Bytes of a process and of those that it has started, which work on long texts."""
    started = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own(pid) + sum(resident(int(child)) for child in started)


def own(pid: int) -> int:
    """Bytes, as the kernel counts them (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(pid)
