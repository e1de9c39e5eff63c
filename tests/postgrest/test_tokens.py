"""Which tokens are let in. The names in brackets are those of the test catalogue for tokens: P01 to P17."""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fix_postgrest import Header, Rest
from tests.fix_tokens import Key
from tests.postgrest.asking import NOBODY, ask, rows_of
from tests.postgrest.forging import assembled, hs256, public_texts, read

pytestmark = pytest.mark.services

DAY = 24 * 60 * 60  # longer than any run of the tests takes


@dataclass(frozen=True)
class In:
    """A moment so many seconds from now, for a test's name that is the same whenever it is collected."""

    seconds: float

    def moment(self) -> float:
        return int(time.time()) + self.seconds


def test_a_good_token_opens_ones_own_rows(api: Rest) -> None:  # P01
    ada = api.tokens.person()
    row = ask(api, ada)
    assert rows_of(api, ada) == [row]


def claims_and_key(api: Rest) -> tuple[dict[str, Any], Key]:
    return api.tokens.person().claims(), api.tokens.key


@pytest.mark.parametrize("algorithm", ["none", "None", "nOnE", "NONE", ""])
def test_a_token_without_a_signature_is_refused(algorithm: str, api: Rest) -> None:  # P02
    claims, key = claims_and_key(api)
    for header in ({"alg": algorithm}, {"alg": algorithm, "kid": key.jwk["kid"]}):
        assert read(api, assembled(header, claims, lambda _: b""))[0] == 401


def test_a_stripped_signature_is_refused(api: Rest) -> None:  # P02
    head, body, signature = api.tokens.person().token().split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    for token in (
        f"{head}.{body}.",
        f"{head}.{body}",
        f"{head}.{body}.{flipped}",
        f"{head}.{body}.{signature}.x",
        "..",
        "x",
    ):
        assert read(api, token) == (401, "PGRST301"), token


def test_a_foreign_key_under_our_name_is_refused(api: Rest) -> None:  # P02
    claims, key = claims_and_key(api)
    header = {"alg": "EdDSA", "kid": key.jwk["kid"], "typ": "at+jwt"}
    assert read(api, assembled(header, claims, Key().private.sign)) == (401, "PGRST301")


@pytest.mark.parametrize("algorithm", ["Ed25519", "RS256", "ES256", "HS256", "EdDSA "])
def test_a_good_signature_under_another_algorithm_is_refused(algorithm: str, api: Rest) -> None:  # P02
    claims, key = claims_and_key(api)
    assert read(api, assembled({"alg": algorithm, "kid": key.jwk["kid"]}, claims, key.private.sign))[0] == 401


def test_nothing_public_is_a_shared_secret(api: Rest) -> None:  # P03
    claims, key = claims_and_key(api)
    for secret in public_texts(key):
        for header in ({}, {"kid": key.jwk["kid"]}):
            assert read(api, hs256(secret, claims, **header)) == (401, "PGRST301"), secret


def test_the_text_of_postgres_without_its_random_member_is_no_shared_secret(api: Rest) -> None:  # P03
    claims, _ = claims_and_key(api)
    (texts,) = api.query("""
        select jsonb_build_object('keys', jsonb_agg(public_jwk))::text,
               json_build_object('keys', jsonb_agg(public_jwk))::text from private.signing_key""")
    for text in texts:
        assert read(api, hs256(text.encode(), claims)) == (401, "PGRST301")


def test_our_key_under_another_name_is_let_in_by_old_versions_only(api: Rest) -> None:  # P04
    claims, key = claims_and_key(api)
    status, _ = read(api, assembled({"alg": "EdDSA", "kid": "another"}, claims, key.private.sign))
    assert status == (200 if api.version < (13,) else 401)


def test_keys_in_a_token_are_not_believed_and_not_fetched(api: Rest) -> None:  # P05
    claims, _ = claims_and_key(api)
    foreign = Key()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        place = f"http://127.0.0.1:{server.getsockname()[1]}/jwks.json"
        for header in ({"jwk": foreign.jwk}, {"jku": place, "kid": foreign.jwk["kid"]}, {"x5u": place}):
            assert read(api, assembled({"alg": "EdDSA"} | header, claims, foreign.private.sign)) == (
                401,
                "PGRST301",
            )
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(("changes", "status"), [
    ({"exp": In(-90)}, 401), ({"exp": None}, 401), ({"exp": 0}, 401), ({"exp": -1}, 401),
    ({"exp": "soon"}, 401),  # P06
    ({"exp": "9999999999"}, 401), ({"exp": In(DAY + 0.5)}, 200), ({"exp": 1e300}, 200),
    ({"nbf": In(7200)}, 401), ({"iat": In(7200)}, 401), ({"nbf": In(-60)}, 200), ({"iat": None}, 200),
     # P07
    ({"aud": "other"}, 401), ({"aud": ["other", "postgrest"]}, 200), ({"aud": None}, 401), ({"aud": []}, 401),
     # P08
    ({"aud": "Postgrest"}, 401), ({"aud": ["other"]}, 401), ({"aud": ""}, 401),
    ({"iss": "http://evil.example"}, 401), ({"iss": None}, 401), ({"iss": ""}, 401),
    ({"iss": "http://127.0.0.1:8081/"}, 401),
    ({"sub": "zz"}, 401), ({"sub": None}, 401), ({"sub": ""}, 401), ({"sub": NOBODY}, 401),
    ({"sub": 12}, 401),  # P11
    ({"sub": "'; drop table x; --"}, 401), ({"sub": NOBODY + "0"}, 401), ({"sub": {"a": 1}}, 401),
    ({"sid": "zz"}, 401), ({"sid": None}, 401), ({"sid": NOBODY}, 401), ({"sid": [NOBODY]}, 401),
    ({"sid": 5}, 401),
], ids=str)  # fmt: skip
def test_every_claim_is_asked_for(changes: dict[str, Any], status: int, api: Rest) -> None:
    claims = {name: each.moment() if isinstance(each, In) else each for name, each in changes.items()}
    answer = api.get("/requests", token=api.tokens.person().token(**claims))
    assert answer.status == status, answer
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert "relation" not in answer.text


def test_clocks_may_differ_by_half_a_minute(api: Rest) -> None:  # P06
    ada = api.tokens.person()
    assert read(api, ada.token(exp=int(time.time()) - 20)) == (200, None)
    assert read(api, ada.token(exp=int(time.time()) - 40))[0] == 401


@pytest.mark.parametrize("changes", [{"exp": None}, {"iss": None}, {"sid": NOBODY}, {"aud": None}], ids=str)
def test_what_the_gate_refuses_it_refuses_everywhere(changes: dict[str, Any], api: Rest) -> None:
    token = api.tokens.person().token(**changes)
    for method, path in (
        ("GET", "/models"),
        ("HEAD", "/models"),
        ("POST", "/requests"),
        ("POST", "/rpc/cancel"),
        ("DELETE", "/requests"),
    ):
        assert (
            api.ask(method, path, token=token, json={"id": NOBODY} if method == "POST" else None).status
            == 401
        )


@pytest.mark.parametrize("role", [None, "pgrest_anon"])
def test_without_the_role_a_token_is_worth_nothing(role: str | None, api: Rest) -> None:  # P09
    ada = api.tokens.person()
    ask(api, ada)
    assert read(api, ada.token(role=role)) == (401, "token_missing")
    assert api.get("/models", token=ada.token(role=role)).status == 200


@pytest.mark.parametrize("role", [
    "postgres", "authenticator", "authsvc", "listener", "listener_events", "precis_owner", "precis_definer",
    "none", "nobody", "",
    "pg_read_all_data", '"', "pgrest_auth; set role postgres", ["pgrest_auth"], {"a": 1}, 7, True,
], ids=str)  # fmt: skip
def test_no_other_role_can_be_taken(role: Any, api: Rest) -> None:  # P10
    ada = api.tokens.person()
    ask(api, ada)
    for path in ("/requests", "/partials"):
        answer = api.get(path, token=ada.token(role=role))
        assert answer.status in (400, 401, 403), answer
        assert ada.account.hex not in answer.text.replace("-", "")


def test_a_session_ends_at_once(api: Rest) -> None:  # P12
    ada = api.tokens.person()
    other = api.tokens.session(ada.account)
    assert read(api, ada.token()) == (200, None)
    api.tokens.revoke(ada)
    assert read(api, ada.token()) == (401, "session_ended")
    assert read(api, other.token()) == (200, None)


@pytest.mark.parametrize("what", [
    "update private.account set banned_at = now() where id = %s", "delete from private.account where id = %s",
    "delete from private.session where account_id = %s",
    "update private.session set expires_at = now() where account_id = %s",
    "update private.session set idle_expires_at = now() where account_id = %s",
    "update private.account set password_changed_at = now() where id = %s",
])  # fmt: skip
def test_ended_is_ended_however_it_was(what: Any, api: Rest) -> None:  # P11, P12
    ada = api.tokens.person()
    assert read(api, ada.token()) == (200, None)
    api.query(what, ada.account)
    assert read(api, ada.token()) == (401, "session_ended")


def test_ones_own_session_does_not_carry_another_account(api: Rest) -> None:
    ada, bob = api.tokens.person(), api.tokens.person()
    assert read(api, bob.token(sub=str(ada.account))) == (401, "session_ended")


def test_an_expired_token_is_told_to_refresh(api: Rest) -> None:
    # PostgREST and the gate give the same skew, so only the gate's own clock can see this: its code is what
    # it would say.
    ada = api.tokens.person()
    fault = api.query("select gate.token_fault(%s::jsonb)", json.dumps(ada.claims(exp=In(-90).moment())))
    assert fault == [("expired",)]


def test_without_an_issuer_on_record_nobody_is_let_in(rest: Rest) -> None:
    ada = rest.tokens.person()
    assert read(rest, ada.token()) == (200, None)
    rest.query("delete from private.token_issuer")
    for changes in ({}, {"iss": None}, {"iss": None, "aud": None}):
        assert read(rest, ada.token(**changes)) == (401, "token_invalid")


def authorization(*values: str) -> list[Header]:
    return [("Authorization", value) for value in values]


def test_the_scheme_is_bearer_in_any_case(api: Rest) -> None:  # P17
    token = api.tokens.person().token()
    for scheme in ("Bearer ", "bearer ", "BEARER "):
        assert api.get("/requests", headers=authorization(scheme + token)).status == 200
    for scheme in ("Basic ", "Token ", ""):
        assert api.get("/requests", headers=authorization(scheme + token)).status == 401


@pytest.mark.parametrize("value", ["Bearer ", "Bearer", "Bearer x", "Bearer \t", "Bearer ,", "Bearer null"])
def test_an_empty_or_broken_token_is_nobodys(value: str, api: Rest) -> None:  # P17
    assert api.get("/requests", headers=authorization(value)).status == 401


def test_of_several_tokens_the_first_counts_or_none(api: Rest) -> None:  # P17
    ada, bob = api.tokens.person(), api.tokens.person()
    hers, _ = ask(api, ada), ask(api, bob)
    first, second = f"Bearer {ada.token()}", f"Bearer {bob.token()}"
    answer = api.get("/requests", headers=authorization(first, second, second))
    assert answer.status in (400, 401) or answer.json == [hers]
    assert api.get("/requests", headers=authorization("Bearer nonsense", second)).status in (400, 401)
    assert api.get("/requests", headers=authorization("Basic eDp5", second)).status in (400, 401)


def test_a_token_of_sixty_kilobytes_is_refused_and_forgotten(api: Rest) -> None:  # P17
    assert api.get("/requests", headers=authorization("Bearer " + "x" * 60_000)).status in (400, 401, 431)
    assert read(api, api.tokens.person().token()) == (200, None)


def test_ones_own_account_cannot_be_given_away(api: Rest) -> None:  # P14
    ada, bob = api.tokens.person(), api.tokens.person()
    row = ask(api, ada)
    body = {"task": "summarize", "text": "Text.", "owner": str(bob.account)}
    assert api.post("/requests", token=ada.token(), json=body).status == 400
    assert (
        api.patch(f"/requests?id=eq.{row['id']}", token=ada.token(), json={"owner": str(bob.account)}).status
        == 400
    )
    assert rows_of(api, bob) == []
    assert rows_of(api, ada) == [row]
