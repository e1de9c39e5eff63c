"""The key set: PostgREST follows it while it runs, and a broken one lets nobody in, least of all with a
forged token."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import LiteralString

import pytest

from tests.fix_postgrest import Rest
from tests.fix_tokens import Key, Person
from tests.postgrest.forging import hs256, public_texts, read

pytestmark = pytest.mark.services

FOLLOWS_WITHIN_SECONDS = 2.0

NEXT_KEY = """
    insert into private.signing_key (kid, public_jwk, private_key, state)
      values (%s, %s::jsonb, '', 'next')"""

# A gate.pre_config that spoils the document on its way, as a bug of ours or of a backup might.
BROKEN = """
    create or replace function gate.pre_config() returns void language plpgsql security definer set
      search_path = '' as $$
    declare document text;
    begin
      perform gate.good_pre_config();
      document := current_setting('pgrst.jwt_secret');
      perform set_config('pgrst.jwt_secret', {spoilt}, true);
    end $$;
    grant execute on function gate.pre_config() to authenticator;"""

# What came of it. Some of these are read as a text that keys HMAC, by one version or another.
SPOILT: dict[str, LiteralString] = {
    "cut in half": "left(document, length(document) / 2)",
    "cut at the end": "left(document, -1)",
    "with a key of an unknown kind": """replace(document, '"keys" : [',
      '"keys" : [{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, ')""",
    "with X25519": """replace(document, 'Ed25519', 'X25519')""",
    "with the new name of the algorithm": """replace(document, 'EdDSA', 'Ed25519')""",
    "without keys": """'{"keys": []}'""",
    "as nothing": "''",
}


def until(what: Callable[[], bool]) -> float:
    """Asks until it is so; how long it took."""
    started = time.monotonic()
    while not what():
        assert time.monotonic() - started < 10, "it never came to be so"
    return time.monotonic() - started


def reload(rest: Rest) -> None:
    """Waits until PostgREST has read its configuration anew."""
    before = rest.process.log.read_text().count("Config reloaded")
    rest.notify("reload config")
    until(lambda: rest.process.log.read_text().count("Config reloaded") > before)


@pytest.fixture
def breakable(rest: Rest) -> Rest:
    rest.query("alter function gate.pre_config() rename to good_pre_config")
    return rest


def spoil(rest: Rest, spoilt: LiteralString) -> None:
    rest.query(BROKEN.replace("{spoilt}", spoilt))
    reload(rest)


def forged(rest: Rest, person: Person, *documents: str) -> Iterator[str]:
    """Tokens keyed with everything that somebody outside can know or guess of the key set."""
    for secret in [*public_texts(rest.tokens.key), *(text.encode() for text in documents)]:
        yield hs256(secret, person.claims())
        yield hs256(secret, person.claims(), kid=rest.tokens.key.jwk["kid"])


def test_a_broken_key_set_fails_closed(breakable: Rest) -> None:  # P16
    ada, keys = breakable.tokens.person(), json.dumps({"keys": [breakable.tokens.key.jwk]})
    for how, spoilt in SPOILT.items():
        spoil(breakable, spoilt)
        # From 13 on a key of an unknown kind is passed over, and the good one beside it is used.
        assert read(breakable, ada.token())[0] in (401, 500) or (
            "unknown" in how and breakable.version > (13,)
        ), how
        for token in forged(breakable, ada, keys[:-1], '{"keys": []}', ""):
            assert read(breakable, token)[0] in (401, 500), how
    assert breakable.get("/models").status == 200


def test_no_part_of_the_published_set_opens_half_a_document(breakable: Rest) -> None:  # P16
    ada = breakable.tokens.person()
    ((document,),) = breakable.query(
        "select jsonb_build_object('keys', jsonb_agg(public_jwk))::text from private.signing_key"
    )
    spoil(breakable, SPOILT["cut in half"])
    for length in range(1, len(document)):
        assert read(breakable, hs256(document[:length].encode(), ada.claims())) == (401, "PGRST301"), length


def test_the_random_member_is_what_stands_between_a_broken_set_and_a_forger(breakable: Rest) -> None:
    # The attack itself, to show that the tests above would see it: the published set, cut short.
    ada = breakable.tokens.person()
    public = json.dumps({"keys": [breakable.tokens.key.jwk]})[:-1]
    spoil(breakable, f"""convert_from('\\x{public.encode().hex()}', 'UTF8')""")
    assert read(breakable, hs256(public.encode(), ada.claims())) == (200, None)


def test_the_document_is_another_one_each_time_and_its_secret_comes_first(rest: Rest) -> None:
    def document() -> str:
        with rest.database.connect("authenticator") as connection, connection.transaction():
            connection.execute("select gate.pre_config()")
            return str(connection.execute("select current_setting('pgrst.jwt_secret')").fetchall()[0][0])

    one, two = document(), document()
    assert json.loads(one)["keys"] == [rest.tokens.key.jwk]
    assert len(json.loads(one)["x-pad"]) >= 64
    assert one[:30] != two[:30]
    assert one.index("x-pad") < one.index("keys")


def test_a_new_key_is_taken_and_an_old_one_dropped_while_postgrest_runs(rest: Rest) -> None:
    ada = rest.tokens.person()
    old_token, old = ada.token(), rest.tokens.key
    rest.tokens.publish(Key())
    rest.notify("reload config")
    assert until(lambda: read(rest, ada.token()) == (200, None)) < FOLLOWS_WITHIN_SECONDS
    assert read(rest, old_token) == (200, None)
    rest.query("delete from private.signing_key where kid = %s", old.jwk["kid"])
    rest.notify("reload config")
    assert until(lambda: read(rest, old_token) == (401, "PGRST301")) < FOLLOWS_WITHIN_SECONDS
    assert read(rest, ada.token()) == (200, None)


def test_nobody_is_turned_away_while_keys_change(rest: Rest) -> None:  # P15
    ada = rest.tokens.person()
    turned_away: list[object] = []
    finished = Event()

    def keep_asking() -> int:
        asked = 0
        while not finished.is_set():
            answer = read(rest, ada.token())
            asked += 1
            if answer != (200, None):
                turned_away.append(answer)
        return asked

    with ThreadPoolExecutor(4) as pool:
        askers = [pool.submit(keep_asking) for _ in range(4)]
        try:
            for _ in range(4):
                rotate(rest, ada)
        finally:
            finished.set()
        assert sum(asker.result() for asker in askers) > 40
    assert turned_away == []


def rotate(rest: Rest, person: Person) -> None:
    """As authsvc does it: a key is published, signs once everybody has it; the one before is good until the
    next time."""
    following = Key()
    rest.query("delete from private.signing_key where state = 'retiring'")
    rest.query(NEXT_KEY, following.jwk["kid"], json.dumps(following.jwk))
    rest.notify("reload config")
    until(lambda: read(rest, following.sign(person.claims())) == (200, None))
    rest.query("update private.signing_key set state = 'retiring' where state = 'active'")
    rest.query("update private.signing_key set state = 'active' where kid = %s", following.jwk["kid"])
    rest.tokens.key = following


def test_a_restarted_postgrest_has_the_keys(rest: Rest) -> None:
    ada = rest.tokens.person()
    rest.process.restart()
    assert read(rest, ada.token()) == (200, None)


def test_without_any_key_nobody_is_let_in(rest: Rest) -> None:
    ada = rest.tokens.person()
    rest.query("delete from private.signing_key")
    reload(rest)
    assert read(rest, ada.token())[0] in (401, 500)
    for token in forged(rest, ada):
        assert read(rest, token)[0] in (401, 500)
