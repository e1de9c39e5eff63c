"""What one person does to another, scenario by scenario: a table, exit code 1 where B waits too long.

python -m tests.neighbour [--seconds 20] [--list] [SCENARIO ...]      all by default
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence

from tests.neighbour import table
from tests.neighbour.ground import ground
from tests.neighbour.measuring import Pace, measure
from tests.neighbour.scenarios import SCENARIOS

PATIENCE_SECONDS = 60.0


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that has to be stopped
    parser = argparse.ArgumentParser(prog="python -m tests.neighbour", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="that B sends beside A")
    parser.add_argument("--list", action="store_true", help="the scenarios' names, and nothing else")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    wanted = parser.parse_args(arguments)
    if unknown := set(wanted.scenarios) - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    if wanted.list:
        print("\n".join(SCENARIOS))
        return 0
    return asyncio.run(ask_all(wanted.scenarios or list(SCENARIOS), wanted.seconds))


async def ask_all(names: Sequence[str], seconds: float) -> int:
    """Each line as soon as it is known."""
    pace = Pace(seconds / 2, seconds, PATIENCE_SECONDS)
    found = []
    print(table.HEADING, flush=True)
    async with ground() as made:
        for name in names:
            found.append(await measure(made, SCENARIOS[name], pace))
            print(table.row(found[-1]), flush=True)
    bad = [line.scenario.name for line in found if not line.is_ok]
    print(f"\nnot ok, {len(bad)} of {len(found)}: {', '.join(bad)}" if bad else f"\nall {len(found)} ok")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
