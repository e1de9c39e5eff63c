"""Which addresses are one account, and which are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.addresses import parse
from authsvc.errors import InvalidEmailError


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        ("ada@example.org.", "ada@example.org"),
        ("ada@münchen.de", "ada@xn--mnchen-3ya.de"),
        ("ada@MÜNCHEN.de", "ada@xn--mnchen-3ya.de"),
        ("ada@mu\u0308nchen.de", "ada@xn--mnchen-3ya.de"),
        ("ada@XN--MNCHEN-3YA.de", "ada@xn--mnchen-3ya.de"),
        ("ada@faß.de", "ada@xn--fa-hia.de"),
        ("a.d.a+tag@example.org", "a.d.a+tag@example.org"),
        ("o'neill/x=1@sub.example.co.uk", "o'neill/x=1@sub.example.co.uk"),
    ],
)
def test_the_key_of_an_address(typed: str, key: str) -> None:
    assert parse(typed).key == key


def test_what_was_typed_is_kept_for_the_mail() -> None:
    assert parse("Ada.Lovelace@Example.ORG").typed == "Ada.Lovelace@Example.ORG"


@pytest.mark.parametrize(
    "text",
    [
        "", "ada", "@", "ada@", "@example.org", "ada@example", "ada@@example.org", "a b@example.org",
        " ada@example.org", "ada@example.org ", "ada@example.org\n", ".ada@example.org", "a..b@example.org",
        "ada.@example.org", '"ada"@example.org', "ada@[127.0.0.1]", "ada@127.0.0.1", "ada@-x.org",
        "ada@x..org", "<ada@example.org>",
        "ada@example.org,b@example.org", "ada@ex_ample.org", "ad\0a@example.org",
        "adı@example.org", "ADİ@example.org", "aſa@example.org", "аda@example.org",
        "ada＠example.org", "ada@example．org", "ada@ｅxample.org", "ada@\u212aelvin.org",
        "a\u200bda@example.org", "ada@exam\u200bple.org", "ada@exam\u00adple.org", "ada@exam\u202eple.org",
        "ada@\u2066example.org", "ada@xn--a.org", "ada@xn--example-.org",
        "a" * 65 + "@example.org", "a@" + "x" * 64 + ".org", "a@" + "x." * 130 + "org",
    ],
)  # fmt: skip
def test_is_no_address(text: str) -> None:
    with pytest.raises(InvalidEmailError):
        parse(text)


def test_a_look_alike_domain_is_another_account() -> None:
    assert parse("ada@gıthub.com").key != parse("ada@github.com").key


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_typed_the_key_is_plain_and_stays_what_it_is(local: str, domain: str) -> None:
    try:
        address = parse(f"{local}@{domain}.org")
    except InvalidEmailError:
        return
    assert address.key.isascii()
    assert parse(address.key).key == address.key
