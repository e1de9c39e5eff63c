"""The queue's statements against a model of the states: whatever workers, sweeps, people and operators do,
one after the other, the database is as the model says.

What happens at once is in test_queue_races.py. With `--hypothesis-profile thorough` it searches for minutes.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from listener.queue import rescue
from listener.queue.slots import SlotKey
from tests.fix_postgres import Database
from tests.listener.queue.queue_ground import Ground
from tests.listener.queue.queue_steps import SMALL_BATCH, WAYS, NothingThereError, Steps

pytestmark = pytest.mark.services

USUAL = settings(max_examples=60, stateful_step_count=50, derandomize=True)

some = st.integers(0, 11)
rarely = st.integers(0, 7).map(lambda n: n == 7)
mostly = rarely.map(lambda yes: not yes)
priorities = st.integers(-1, 1)
ways = st.sampled_from(WAYS)
several = st.lists(some, min_size=1, max_size=3)
# How often, and with what. One rule for all: of several rules hypothesis leaves out some in each run, and
# these build on each other.
STEPS: dict[str, tuple[int, tuple[st.SearchStrategy[Any], ...]]] = {
    "ask": (3, (some, some, priorities, rarely)),
    "wear_out": (1, (some,)),
    "cancel": (1, (some,)),
    "retry": (2, (some,)),
    "change": (1, (some, priorities, st.booleans())),
    "delete": (1, (some,)),
    "pause_or_resume": (2, (st.none() | some, st.booleans())),
    "drain": (1, (some, rarely)),
    "register": (3, ()),
    "lease_slots": (3, (some, some, st.integers(1, 3))),
    "give_back_slots": (1, (some, some)),
    "claim": (9, (some, mostly, st.integers(1, 3), st.booleans(), st.booleans(), mostly)),
    "end": (9, (some, some, ways)),
    "write_late": (3, (st.integers(0, 99), ways)),
    "renew": (4, (some, rarely)),
    "unregister": (1, (some,)),
    "fall_silent": (2, (some, st.sampled_from(["silent", "ended"]), st.booleans())),
    "rescue": (3, ()),
    "requeue_overdue": (1, (several,)),
    "ready_due": (2, (several,)),
    "prune_partials": (1, ()),
}
NAMES = [name for name, (weight, _) in STEPS.items() for _ in range(weight)]
steps = st.sampled_from(NAMES).flatmap(lambda name: st.tuples(st.just(name), *STEPS[name][1]))


class Queue(Steps, RuleBasedStateMachine):
    """After each step the database and the model look the same."""

    @initialize()
    def something_to_do(self) -> None:
        for which in range(3):
            self.ask(which, which, 0, False)
        for _ in range(2):
            self.register()

    @rule(step=steps)
    def happens(self, step: tuple[Any, ...]) -> None:
        name, *details = step
        with contextlib.suppress(NothingThereError):
            getattr(self, name)(*details)

    @invariant()
    def the_database_is_as_the_model_says(self) -> None:
        jobs, results, attempts, partials, waiting, slots, workers = self.ground.picture()
        states = self.states
        assert jobs == [job.row() for job in self.jobs()]
        assert sorted(results) == sorted([job.request, *job.result] for job in self.jobs() if job.result)
        assert {(a, b): (c, d, e) for a, b, c, d, e in attempts} == states.attempts
        assert {tuple(piece) for piece in partials} == states.partials
        assert {SlotKey(a, b, c): (d, e) if d else None for a, b, c, d, e in slots} == states.slots
        assert workers == [
            [row.id, row.incarnation, row.lease == "fenced", row.draining] for row in states.workers.values()
        ]
        for owner, count in waiting:
            assert count == sum(job.state == "ready" and job.owner == owner for job in self.jobs())

    @invariant()
    def nobody_runs_more_than_its_slots_and_every_running_job_can_be_found(self) -> None:
        assert {job.worker for job in self.jobs() if job.state == "running"} <= set(self.states.workers)
        for actor in self.actors:
            if self.states.registered(actor.id):
                assert actor.slots == self.states.leased(actor.id)
                for model in self.ground.models:
                    held = sum(each == model for each in actor.held.values())
                    assert held <= sum(key.model_id == model for key in actor.slots)


@pytest.fixture
def ground(database: Database) -> Iterator[Ground]:
    with asyncio.Runner() as runner:
        opened = Ground(database, runner)
        opened.open()
        yield opened
        opened.close()


@pytest.mark.timeout(900)  # a failure is made smaller for up to five minutes
def test_whatever_happens_the_queue_is_as_the_model_says(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rescue, "BATCH", SMALL_BATCH)
    thorough = settings.get_current_profile_name() == "thorough"
    run_machine(partial(Queue, ground), settings=settings() if thorough else USUAL)  # type: ignore[arg-type]
