"""Who is read when: quickly at first, never by two at once, and not too often."""

import asyncio
from uuid import UUID, uuid4

import pytest

from listener.events import hub as module
from listener.events.hub import Hub, TooManyStreamsError
from listener.events.incarnation import Position
from listener.events.partials import Seen
from listener.events.stream import Ending, Stream, Wish


def stream(request: object = None) -> Stream:
    return Stream(asyncio.Transport(), Position("", 0), Wish(request))  # type: ignore[arg-type]


async def test_a_few_reads_follow_at_once_and_the_next_ones_are_spread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "READ_INTERVAL_SECONDS", 0.2)
    hub, owner = Hub(streams_max=1, streams_per_account=1), uuid4()
    loop = asyncio.get_running_loop()
    began = loop.time()
    with hub.joined(owner, "claims", stream()):
        times = []
        for _ in range(module.READS_AT_ONCE + 2):
            async with hub.turn():
                times.append(loop.time() - began)
                hub.mark(owner, partials=False)
    assert times[module.READS_AT_ONCE - 1] < module.READ_INTERVAL_SECONDS
    assert times[-1] >= module.READ_INTERVAL_SECONDS


async def test_an_audience_that_is_being_read_waits_for_its_next_turn() -> None:
    hub, owner = Hub(streams_max=1, streams_per_account=1), uuid4()
    with hub.joined(owner, "claims", stream()):
        async with hub.turn() as first:
            hub.mark(owner, partials=True)
            other = asyncio.ensure_future(hub.turn().__aenter__())
            await asyncio.sleep(0)
            assert not other.done()
        second = await other
        assert second.audience is first.audience
        assert second.partials


async def test_an_idle_audience_is_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("listener.events.hub.IDLE_SECONDS", 0.0)
    hub, idle = Hub(streams_max=1, streams_per_account=1), stream()
    monkeypatch.setattr(asyncio.Transport, "is_closing", lambda _: False, raising=True)
    with hub.joined(uuid4(), "claims", idle):
        async with hub.turn():
            pass
        hub.sweep()
        async with asyncio.timeout(1), hub.turn() as turn:
            assert turn.streams == (idle,)


async def test_what_was_joined_during_a_read_is_not_told_its_outcome() -> None:
    hub, owner = Hub(streams_max=2, streams_per_account=2), uuid4()
    early, late = stream(), stream()
    with hub.joined(owner, "claims", early):
        async with hub.turn() as turn:
            with hub.joined(owner, "claims", late):
                assert turn.streams == (early,)


async def test_a_stream_that_was_let_in_just_before_the_stop_ends_as_well() -> None:
    hub, owner = Hub(streams_max=1, streams_per_account=1), uuid4()
    hub.stop(lambda: Ending("shutdown", b"bye"))
    late = stream()
    with hub.joined(owner, "claims", late):
        assert late.ending == Ending("shutdown", b"bye")
    with pytest.raises(TooManyStreamsError):
        hub.check_room()


def test_an_audience_reads_text_from_where_the_last_of_its_streams_is() -> None:
    shared, wanted_by_one = uuid4(), uuid4()
    everything, one = stream(), stream(shared)
    everything.partials.seen = {shared: Seen(2, 5, 50), wanted_by_one: Seen(1, 7, 70)}
    audience = module.Audience(uuid4(), "claims", {everything, one})
    assert set(audience.seen([everything, one])) == {(wanted_by_one, 1, 7)}
    one.partials.seen = {shared: Seen(2, 3, 30)}
    assert set(audience.seen([everything, one])) == {(shared, 2, 3), (wanted_by_one, 1, 7)}


async def test_where_others_wait_a_busy_audience_is_read_rarely() -> None:
    hub, busy, other = Hub(streams_max=2, streams_per_account=2), uuid4(), uuid4()
    times: dict[UUID, list[float]] = {busy: [], other: []}
    with hub.joined(busy, "claims", stream()), hub.joined(other, "claims", stream()):
        while len(times[busy]) < 3:
            async with hub.turn() as turn:
                times[turn.audience.owner].append(asyncio.get_running_loop().time())
                hub.mark(turn.audience.owner, partials=False)
    assert times[busy][-1] - times[busy][0] >= module.CROWDED_INTERVAL_SECONDS
