"""The local side of the limit: which leased slots are busy."""

from listener.queue.slots import SlotKey
from listener.work.slots import LeasedSlots

ONE, TWO = 1, 2  # hosts
MODEL, OTHER = 10, 20


def leased(*keys: tuple[int, int, int]) -> LeasedSlots:
    slots = LeasedSlots()
    slots.add(SlotKey(*key) for key in keys)
    return slots


def test_no_more_calls_begin_than_slots_are_leased() -> None:
    slots = leased((ONE, MODEL, 1), (ONE, MODEL, 2))
    assert slots.take(MODEL, [ONE])
    assert slots.take(MODEL, [ONE])
    assert slots.take(MODEL, [ONE]) is None
    assert slots.free(MODEL, [ONE]) == 0


def test_a_slot_given_back_can_be_taken_again() -> None:
    slots = leased((ONE, MODEL, 1))
    key = slots.take(MODEL, [ONE])
    assert key
    slots.give(key)
    assert slots.take(MODEL, [ONE]) == key


def test_the_least_busy_host_gets_the_next_call() -> None:
    slots = leased((ONE, MODEL, 1), (ONE, MODEL, 2), (TWO, MODEL, 1), (ONE, OTHER, 1))
    slots.take(OTHER, [ONE])
    hosts = [key.host_id for key in (slots.take(MODEL, [ONE, TWO]), slots.take(MODEL, [ONE, TWO])) if key]
    assert hosts == [TWO, ONE]


def test_slots_of_hosts_that_do_not_answer_are_not_free() -> None:
    slots = leased((ONE, MODEL, 1), (TWO, MODEL, 1))
    assert slots.free(MODEL, [TWO]) == 1
    assert slots.free(MODEL, []) == 0
    assert slots.take(MODEL, []) is None


def test_only_idle_slots_can_be_given_away() -> None:
    slots = leased((ONE, MODEL, 1), (ONE, MODEL, 2))
    busy = slots.take(MODEL, [ONE])
    assert busy not in slots.idle(MODEL)
    assert slots.held(MODEL) == 2


def test_a_call_that_outlives_the_lease_gives_back_nothing() -> None:
    slots = leased((ONE, MODEL, 1))
    key = slots.take(MODEL, [ONE])
    assert key
    slots.clear()
    slots.give(key)
    assert slots.held(MODEL) == 0
