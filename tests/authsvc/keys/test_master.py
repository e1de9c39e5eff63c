"""One secret, many keys."""

import secrets

import pytest

from authsvc.keys.master import MasterKey


def test_a_fresh_key_is_accepted_with_and_without_padding() -> None:
    text = secrets.token_urlsafe(32)
    assert MasterKey.parse(text) == MasterKey.parse(text + "=")


@pytest.mark.parametrize(
    "text",
    ["", "short", "A" * 43, "!" * 43, secrets.token_urlsafe(31), secrets.token_urlsafe(48)],
    ids=["empty", "short", "one letter", "other letters", "31 bytes", "48 bytes"],
)
def test_anything_else_is_refused_with_the_command_that_makes_one(text: str) -> None:
    with pytest.raises(ValueError, match="token_urlsafe"):
        MasterKey.parse(text)


def test_each_purpose_has_a_key_of_its_own_that_stays_the_same() -> None:
    key = MasterKey(bytes(range(32)))
    derived = {
        key.derive(purpose) for purpose in ("sign-wrap", "refresh-mac", "rate-limit-hmac", "audit-hmac")
    }
    assert len(derived) == 4
    assert key.derive("sign-wrap") in derived


def test_its_text_form_does_not_show_it() -> None:
    assert repr(MasterKey(b"secret bytes")) == "MasterKey()"
