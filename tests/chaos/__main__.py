"""A long run of chaos: faults in random order until the time is over, a table, exit code 1 on a violation.

python -m tests.chaos [--minutes 30] [--seed N] [FAULT ...]      all faults by default
"""

import argparse
import asyncio
import itertools
import random
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence

from tests.chaos import report
from tests.chaos.driver import Pace, Run
from tests.chaos.faults import FAULTS, Dose
from tests.chaos.scene import scene

PACE = Pace(calm_seconds=20.0, patience_seconds=60.0)
DOSE = Dose(seconds=12.0, connections=300)
DOSES = {
    "darken": Dose(22.0),  # past the lease of 15 s, and a sweep
    "deafen": Dose(20.0),  # until the lost echo is noticed
    "freeze": Dose(3.0),
    "kill": Dose(20.0),
    "restart-postgres": Dose(6.0),  # longer than the silence after which a worker is thought dead
    "sever": Dose(8.0),
    "terminate": Dose(30.0),
}
SHOWN = 40


def main(arguments: Sequence[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of everything that has to be stopped
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}")
    wanted = parser.parse_args(arguments)
    unknown = set(wanted.faults) - FAULTS.keys()
    if unknown:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    print(f"seed {wanted.seed}", flush=True)
    return asyncio.run(torment(wanted.seed, wanted.minutes, wanted.faults or list(FAULTS)))


async def torment(seed: int, minutes: float, faults: Sequence[str]) -> int:
    async with scene(seed) as made:
        run = Run(made, PACE)
        known = await run.play(plan(random.Random(seed), faults, until=time.monotonic() + 60 * minutes))
        found = report.lines(run.spells, known, run.trouble)
    print(report.table(found))
    for violation in run.trouble[:SHOWN]:
        print(violation)
    slower = [line.fault for line in found if line.is_slower]
    if slower:
        print(f"slower than {report.LEAST_RATIO:.0%} of before after: {', '.join(slower)}")
    return 1 if run.trouble or slower else 0


def plan(chance: random.Random, faults: Sequence[str], *, until: float) -> Iterator[tuple[str, Dose]]:
    """Each once in every round, in a new order."""
    for _ in itertools.count():
        for name in chance.sample(faults, len(faults)):
            if time.monotonic() >= until:
                return
            print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
            yield name, DOSES.get(name, DOSE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
