"""A small dose of every fault, one after the other, with a fixed seed: nothing that is accepted is lost, done
twice, or done on more slots than there are. `make chaos` gives larger doses, and measures."""

import pytest

from tests.chaos.driver import Pace, Run
from tests.chaos.faults import FAULTS, Dose
from tests.chaos.report import lines, table
from tests.chaos.scene import scene

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

SEED = 4
PACE = Pace(calm_seconds=0.5, patience_seconds=0.0)
# Until a worker gives up its calls at 13 s; until one that is seen to be gone is thought dead at 5 s.
DOSES = {"darken": Dose(14.0), "sever": Dose(5.5), "crowd": Dose(0.5, connections=300)}
SMALL = Dose(1.5)


async def test_no_fault_loses_an_accepted_request_or_lets_it_be_done_twice() -> None:
    async with scene(SEED) as made:
        run = Run(made, PACE)
        known = await run.play([(name, DOSES.get(name, SMALL)) for name in FAULTS])
        events = set().union(*(worker.events() for worker in made.workers))
    told = table(lines(run.spells, known, run.trouble))
    assert run.trouble == [], told
    assert {spell.fault for spell in run.spells if spell.struck} == FAULTS.keys(), told
    assert {"lease.lost", "lease.fenced", "worker.gone"} <= events
