"""Registering and logging in."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import bcrypt
import pytest

from tests.authsvc.fix_service import GOOD_PASSWORD, Answer, Service, new_email, running
from tests.fix_postgres import Database

pytestmark = pytest.mark.services


def shape(answer: Answer) -> tuple[object, ...]:
    """All of an answer that may tell something: not its time and its request's id."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("Date", "X-Request-ID")}
    return answer.status, answer.json, headers


def hashed(password: str, cost: int = 4) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()


async def test_a_registration_is_a_session(service: Service) -> None:
    answer = await service.register("Ada@Example.org")
    assert answer.status == 201
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("bearer", 600)
    assert answer.headers["Cache-Control"] == "no-store"
    rows = service.query(
        "select a.id, s.id, a.email, a.email_key from private.account a join private.session s on true"
    )
    assert rows == [
        (UUID(answer.claims["sub"]), UUID(answer.claims["sid"]), "Ada@Example.org", "ada@example.org")
    ]


async def test_the_database_honours_the_token_and_no_longer_after_log_out(service: Service) -> None:
    answer = await service.register()
    fault = "select gate.token_fault(%s::jsonb)"
    claims = json.dumps(answer.claims)
    assert service.query(fault, claims) == [(None,)]
    await service.post("/auth/logout", {"refresh_token": answer.json["refresh_token"]})
    assert service.query(fault, claims) == [("ended",)]


async def test_of_twenty_parallel_registrations_one_wins_and_none_fails(service: Service) -> None:
    spellings = [
        "ada@bücher.org",
        "ADA@bücher.org",
        "ada@BÜCHER.org.",
        "ada@xn--bcher-kva.org",
        "ada@bu\u0308cher.org",
    ]
    answers = await asyncio.gather(*(service.register(spellings[n % 5]) for n in range(20)))
    assert sorted(answer.status for answer in answers) == [201] + 19 * [409]
    assert {answer.code for answer in answers if answer.status == 409} == {"email_taken"}
    assert service.query("select count(*) from private.account") == [(1,)]
    assert service.query("select count(*) from private.session") == [(1,)]


async def test_a_log_in_opens_a_new_session_each_time(service: Service) -> None:
    registered = await service.register("ada@example.org")
    first, second = await service.log_in("ADA@example.org"), await service.log_in("ada@example.org.")
    assert first.status == second.status == 200
    assert len({answer.claims["sid"] for answer in (registered, first, second)}) == 3
    assert len({answer.claims["sub"] for answer in (registered, first, second)}) == 1


async def test_every_reason_not_to_log_in_looks_the_same(service: Service) -> None:
    emails = {name: f"{name}@example.org" for name in ("known", "banned", "oauth", "broken", "costly")}
    for email in emails.values():
        await service.register(email)
    service.query("update private.account set banned_at = now() where email_key like 'banned@%%'")
    service.query("update private.account set password_hash = null where email_key like 'oauth@%%'")
    service.query("update private.account set password_hash = 'x' where email_key like 'broken@%%'")
    costly = hashed(GOOD_PASSWORD).replace("$04$", "$31$")
    service.query("update private.account set password_hash = %s where email_key like 'costly@%%'", costly)
    answers = [await service.log_in(email, "not the password") for email in (*emails.values(), new_email())]
    assert {answer.status for answer in answers} == {401}
    assert all(shape(answer) == shape(answers[0]) for answer in answers)
    assert (answers[0].code, answers[0].json["details"]) == ("invalid_credentials", None)


async def test_a_banned_person_is_told_so_after_the_right_password_only(service: Service) -> None:
    await service.register("ada@example.org")
    service.query("update private.account set banned_at = now()")
    assert (await service.log_in("ada@example.org", "not the password")).code == "invalid_credentials"
    answer = await service.log_in("ada@example.org")
    assert (answer.status, answer.code) == (403, "account_banned")


async def test_hashes_that_cannot_be_used_open_nothing_even_for_the_right_password(service: Service) -> None:
    await service.register("ada@example.org")
    for stored in ("", "x", hashed(GOOD_PASSWORD).replace("$04$", "$31$"), "p1$" + hashed(GOOD_PASSWORD)):
        service.query("update private.account set password_hash = %s", stored)
        service.query("delete from private.rate_bucket")
        assert (await service.log_in("ada@example.org")).code == "invalid_credentials"


AS_WRITTEN = [
    ("velvet harbour caf\u00e9", "velvet harbour cafe\u0301", 200),
    (" velvet harbour cafe ", " velvet harbour cafe ", 200),
    (" velvet harbour cafe ", "velvet harbour cafe", 401),
    ("velvet harbour cafe", "Velvet harbour cafe", 401),
    ("🐙🌍🎷🍕🚲📚🧊🌵" * 8, "🐙🌍🎷🍕🚲📚🧊🌵" * 8, 200),
    (
        "velvet harbour quiet nine " * 3,
        "velvet harbour quiet nine " * 2 + "velvet harbour quiet ten  ",
        401,
    ),
    ("'; drop table private.account; --", "'; drop table private.account; --", 200),
    ("%s $1 {0} \\x00 velvet harbour", "%s $1 {0} \\x00 velvet harbour", 200),
]


async def test_a_password_is_taken_as_it_is_written(service: Service) -> None:
    for registered, typed, status in AS_WRITTEN:
        email = new_email()
        assert (await service.register(email, registered)).status == 201
        assert (await service.log_in(email, typed)).status == status, (registered, typed)


async def test_addresses_with_sql_in_them_are_stored_literally(service: Service) -> None:
    for local in ("'--", "a'or'1'='1", "{0}", "$1", "a%s", "`drop`"):
        email = f"{local}@example.org"
        assert (await service.register(email)).status == 201
        assert service.query("select count(*) from private.account where email = %s", email) == [(1,)]
        assert (await service.log_in(email)).status == 200


async def test_a_bad_password_is_refused_before_any_hash_is_made(service: Service) -> None:
    before = await service.metrics()
    for password, code in (("short", "password_too_short"), ("password1234", "password_too_common")):
        assert (await service.register("ada@example.org", password)).code == code
    answer = await service.register("ada.lovelace@example.org", "ada-lovelace-1815")
    assert answer.code == "password_like_email"
    made = "precis_auth_hash_seconds_count"
    assert [line for line in before.splitlines() if line.startswith(made)] == [
        line for line in (await service.metrics()).splitlines() if line.startswith(made)
    ]


async def test_an_old_hash_is_made_anew_after_a_log_in(service: Service) -> None:
    await service.register("ada@example.org")
    old = hashed(GOOD_PASSWORD, cost=5)
    service.query("update private.account set password_hash = %s", old)
    assert (await service.log_in("ada@example.org")).status == 200
    await service.until("select true from private.account where password_hash like '$2b$04$%%'")
    assert (await service.log_in("ada@example.org")).status == 200


async def test_the_eleventh_log_in_of_a_minute_from_one_network_is_told_when_to_come_back(
    service: Service,
) -> None:
    statuses = [
        (await service.log_in(new_email(), X_Forwarded_For=f"2001:db8:1:2::{host}")).status
        for host in range(1, 11)
    ]
    assert statuses == [401] * 10
    answer = await service.log_in(new_email(), X_Forwarded_For="2001:db8:1:2::ffff")
    assert (answer.status, answer.code) == (429, "rate_limited")
    assert answer.headers["Retry-After"] == str(answer.json["details"]["retry_after"])
    assert (await service.log_in(new_email(), X_Forwarded_For="2001:db8:1:3::1")).status == 401


async def test_registrations_are_limited_taken_addresses_included(service: Service) -> None:
    await service.register("ada@example.org")
    body = {"email": "ada@example.org", "password": GOOD_PASSWORD}
    answers = [await service.post("/auth/register", body, X_Forwarded_For="192.0.2.9") for _ in range(11)]
    assert [answer.status for answer in answers] == [409] * 10 + [429]


async def test_a_flood_of_wrong_passwords_at_one_account_is_mostly_not_even_compared(
    service: Service,
) -> None:
    await service.register("ada@example.org")
    answers = await asyncio.gather(*(service.log_in("ada@example.org", "wrong") for _ in range(30)))
    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 25


async def test_an_unknown_address_is_limited_like_a_known_one(service: Service) -> None:
    known, unknown = "ada@example.org", "nobody@example.org"
    await service.register(known)
    for email in (known, unknown):
        answers = [await service.log_in(email, "wrong") for _ in range(6)]
        assert [answer.status for answer in answers] == [401] * 5 + [429]
        service.query("update private.rate_bucket set tokens = 100 where get_byte(key, 0) = 1")
        assert (await service.log_in(email, "wrong")).code == "sign_in_blocked"
        service.query("delete from private.rate_bucket")


async def test_an_account_without_its_first_session_cannot_exist(service: Service) -> None:
    service.query(
        "create function private.fail() returns trigger language plpgsql as $$ begin raise 'broken'; end $$"
    )
    service.query(
        "create trigger fails before insert on private.audit for each row execute function private.fail()"
    )
    assert (await service.register("ada@example.org")).status == 500
    assert service.query("select count(*) from private.account") == [(0,)]
    service.query("drop trigger fails on private.audit")
    assert (await service.register("ada@example.org")).status == 201


async def test_the_oldest_session_makes_room_for_one_too_many(database: Database, tmp_path: Path) -> None:
    async with running(database, tmp_path, sessions_per_account=2) as service:
        answers = [await service.register("ada@example.org"), await service.log_in("ada@example.org")]
        await service.refresh(answers[0].json["refresh_token"])  # used last: the other one is the oldest
        answers.append(await service.log_in("ada@example.org"))
        rows = service.query(
            "select id::text, revoke_reason from private.session where revoked_at is not null"
        )
        assert rows == [(answers[1].claims["sid"], "evicted")]


async def test_what_happened_is_on_record_and_names_no_address(service: Service) -> None:
    registered = await service.register("ada@example.org")
    await service.log_in("ada@example.org", "not the password")
    await service.log_in("ada@example.org", X_Request_Id="a-request-of-mine")
    rows = service.query("select event, account_id::text, request_id, detail from private.audit order by id")
    assert [row[0] for row in rows] == ["register", "login_failed", "login"]
    assert {row[1] for row in rows} == {registered.claims["sub"]}
    assert rows[2][2] == "a-request-of-mine"
    assert "@" not in str(rows)
