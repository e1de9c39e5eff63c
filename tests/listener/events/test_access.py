"""Who gets a stream, for how long, and what the others are told."""

import asyncio
import time
from typing import Any

import pytest

from tests.fix_events import PATIENCE_SECONDS, Rows, Service, running
from tests.fix_postgres import Database
from tests.fix_tokens import Key, Person, Tokens

pytestmark = pytest.mark.services


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": int(time.time()) - 60}, "token_expired"),
        ({"aud": "somebody"}, "invalid_token"),
        ({"iss": "http://elsewhere"}, "invalid_token"),
        ({"role": "authenticator"}, "invalid_token"),
        ({"role": None}, "invalid_token"),
        ({"sid": None}, "invalid_token"),
        ({"sub": "b2c1a8de-0000-4000-8000-000000000000"}, "session_ended"),
    ],
)
async def test_a_token_that_is_not_good_is_refused_before_the_stream(
    events: Service, tokens: Tokens, claims: dict[str, Any], code: str
) -> None:
    assert await events.refusal(tokens.person().headers(**claims)) == (401, code)


async def test_nobody_gets_in_without_a_token_or_with_somebodys_forgery(
    events: Service, tokens: Tokens
) -> None:
    ann = tokens.person()
    forged = Person(ann.account, ann.session, Key().sign)
    assert await events.refusal() == (401, "missing_token")
    assert await events.refusal({"Authorization": "Basic YTpi"}) == (401, "invalid_token")
    assert await events.refusal(forged.headers()) == (401, "invalid_token")


async def test_a_session_that_has_ended_gets_neither_stream_nor_ticket(
    events: Service, tokens: Tokens
) -> None:
    ann = tokens.person()
    ticket = await events.ticket(ann)
    tokens.revoke(ann)
    assert await events.refusal(ann.headers()) == (401, "session_ended")
    assert await events.refusal(ticket=ticket) == (401, "session_ended")
    async with events.http.post(f"{events.url}/events/ticket", headers=ann.headers()) as response:
        assert response.status == 401


async def test_after_a_revocation_no_further_row_is_sent_and_the_stream_closes(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    other_device = tokens.session(ann.account)
    async with events.stream(ann) as revoked, events.stream(other_device) as kept:
        tokens.revoke(ann)
        request = rows.insert(ann)
        frames = await revoked.rest()
        assert [frame.event for frame in frames if frame.event] == ["token"]
        assert frames[-1].data["code"] == "session_ended"
        assert (await kept.next("change")).data["id"] == str(request)


async def test_an_idle_stream_notices_the_end_of_its_session(
    events: Service, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.hub.IDLE_SECONDS", 0.5)
    ann = tokens.person()
    async with events.stream(ann) as client:
        rows.insert(ann)
        await client.next("change")
        tokens.revoke(ann)
        assert (await client.rest())[-1].event == "token"


async def test_a_stream_ends_with_its_token_and_goes_on_with_the_next(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    expires_at = int(time.time()) + 2
    first = rows.insert(ann)
    async with events.stream(ann, exp=expires_at, since="0") as client:
        await client.row(first, "queued")
        last = (await client.rest())[-1]
        assert (last.event, last.data["code"], last.id) == ("token", "token_expired", None)
        assert expires_at <= time.time() < expires_at + 1
    second = rows.insert(ann)
    async with events.stream(ann, resume=client.last_id) as client:
        assert (await client.next("change")).data["id"] == str(second)


async def test_a_new_key_is_known_at_once_and_a_withdrawn_one_soon_forgotten(
    database: Database, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.service.REREAD_SECONDS", 0.1)
    monkeypatch.setattr("listener.events.keys.REREAD_AT_MOST_EVERY_SECONDS", 0.0)
    ann = tokens.person()
    old = ann.headers()
    async with running(database) as events:
        tokens.publish(Key())
        async with events.stream(ann) as client:
            await client.next()
        rows.execute("delete from private.signing_key where state = 'retiring'")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await is_refused(events, old):
                pass


async def is_refused(events: Service, headers: dict[str, str]) -> bool:
    async with events.http.get(f"{events.url}/events", headers=headers) as response:
        return response.status == 401


async def test_without_any_key_a_client_is_told_to_come_back_and_with_the_first_it_may(
    events: Service, tokens: Tokens, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("listener.events.keys.REREAD_AT_MOST_EVERY_SECONDS", 0.0)
    ann = tokens.person()
    rows.execute("delete from private.signing_key")
    tokens.key = Key()
    assert await events.refusal(ann.headers()) == (503, "no_keys")
    # authsvc makes its first one; and then is no time to wait until keys may be read again.
    monkeypatch.setattr("listener.events.keys.REREAD_AT_MOST_EVERY_SECONDS", 3600.0)
    tokens.publish(tokens.key)
    async with events.stream(ann) as client:
        await client.next()


async def test_a_ticket_opens_one_stream_of_whom_it_was_given_to(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann = tokens.person()
    ticket = await events.ticket(ann)
    async with events.stream(ticket=ticket) as client:
        request = rows.insert(ann)
        assert (await client.next("change")).data["id"] == str(request)
        assert await events.refusal(ticket=ticket) == (401, "invalid_ticket")


async def test_of_many_who_use_a_ticket_at_once_one_gets_in(events: Service, tokens: Tokens) -> None:
    ticket = await events.ticket(tokens.person())
    attempts = [events.http.get(f"{events.url}/events", params={"ticket": ticket}) for _ in range(8)]
    responses = await asyncio.gather(*attempts)
    assert sorted(response.status for response in responses) == [200] + [401] * 7
    for response in responses:
        response.close()


async def test_a_ticket_is_no_good_after_30_seconds_or_in_other_hands(
    events: Service, tokens: Tokens, rows: Rows
) -> None:
    ann, bob = tokens.person(), tokens.person()
    ticket = await events.ticket(ann)
    assert await events.refusal(bob.headers(), ticket=ticket) == (401, "invalid_ticket")
    assert await events.refusal(ticket="invented") == (401, "invalid_ticket")
    [[seconds]] = rows.execute("select extract(epoch from expires_at - now()) from private.event_ticket")
    assert 20 < seconds <= 30
    rows.execute("update private.event_ticket set expires_at = now()")
    assert await events.refusal(ticket=ticket) == (401, "invalid_ticket")


async def test_an_account_has_so_many_streams_and_no_more(database: Database, tokens: Tokens) -> None:
    ann, bob = tokens.person(), tokens.person()
    async with running(database, streams_per_account=1) as events:
        async with events.stream(ann), events.stream(bob):
            assert await events.refusal(ann.headers()) == (429, "too_many_streams")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await events.metric("precis_events_connections"):
                pass
        async with events.stream(ann):
            pass


async def test_a_process_has_so_many_streams_and_no_more(database: Database, tokens: Tokens) -> None:
    ann, bob = tokens.person(), tokens.person()
    async with (
        running(database, streams_max=1) as events,
        events.stream(ann),
        events.http.get(f"{events.url}/events", headers=bob.headers()) as response,
    ):
        assert response.status == 503
        assert response.headers["Retry-After"]


async def test_a_native_event_source_is_put_off_with_200_and_keeps_its_ticket(
    database: Database, tokens: Tokens
) -> None:
    ann = tokens.person()
    async with running(database, streams_per_account=1) as events:
        ticket = await events.ticket(ann)
        async with events.stream(ann), events.stream(ticket=ticket) as put_off:
            assert put_off.frames[0].retry
            assert await put_off.rest() == []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await events.metric("precis_events_connections"):
                pass
        async with events.stream(ticket=ticket) as client:
            assert (await client.next()).id


async def test_pages_of_known_origins_may_read_even_refusals(database: Database, tokens: Tokens) -> None:
    page = {"Origin": "https://app.example.org"}
    stranger = {"Origin": "https://evil.example.org"}
    async with running(database, allowed_origins=("https://app.example.org",)) as events:
        for path in ("/events", "/events/ticket"):
            async with events.http.options(f"{events.url}{path}", headers=page) as response:
                assert response.headers["Access-Control-Allow-Origin"] == page["Origin"]
                assert response.headers["Access-Control-Max-Age"] == "600"
                assert "Last-Event-ID" in response.headers["Access-Control-Allow-Headers"]
                assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        for headers in (page, page | tokens.person().headers()):
            async with events.http.get(f"{events.url}/events", headers=headers) as response:
                assert response.headers["Access-Control-Allow-Origin"] == page["Origin"]
        async with events.http.get(f"{events.url}/events", headers=stranger) as response:
            assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"request": "1"}, "invalid_request_id"),
        ({"kind": "secret"}, "unknown_kind"),
        ({"since": "7"}, "invalid_since"),
    ],
)
async def test_a_question_that_makes_no_sense_is_answered_400(
    events: Service, tokens: Tokens, query: dict[str, str], code: str
) -> None:
    assert await events.refusal(tokens.person().headers(), **query) == (400, code)
