"""The text of a refresh token, and what a used one means."""

import base64
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authsvc.errors import RefreshTokenError
from authsvc.refresh import RefreshToken, Seen, decode, encode, judge

SECRET = bytes(range(32))
TOKEN = RefreshToken(UUID("12345678-1234-5678-1234-567812345678"), 7)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def alive(generation: int, *, rotated: float = 1000.0) -> Seen:
    return Seen(generation, None, seconds_since_rotation=rotated)


@given(st.uuids(), st.integers(0, 2**31 - 1))
def test_what_was_written_is_read(session_id: UUID, generation: int) -> None:
    token = RefreshToken(session_id, generation)
    assert decode(encode(token, SECRET), SECRET) == token


@given(st.integers(0, 71), st.sampled_from(ALPHABET))
def test_no_changed_character_is_accepted(position: int, character: str) -> None:
    text = encode(TOKEN, SECRET)
    changed = text[:position] + character + text[position + 1 :]
    if changed != text:
        with pytest.raises(RefreshTokenError):
            decode(changed, SECRET)


@given(st.uuids(), st.integers(0, 2**31 - 1))
def test_it_has_one_spelling(session_id: UUID, generation: int) -> None:
    text = encode(RefreshToken(session_id, generation), SECRET)
    for one, other in (("-", "+"), ("_", "/")):
        if one in text:
            with pytest.raises(RefreshTokenError):
                decode(text.replace(one, other, 1), SECRET)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "=",
        lambda text: text + "A",
        lambda text: " " + text[1:],
        lambda text: text[:-1] + "é",
        lambda text: text[:-1] + "\udce9",
        lambda text: text[:-2] + "==",
        lambda text: text[:-1] + "\n",
        lambda text: text.swapcase(),
        lambda text: text.replace("-", "+").replace("_", "/") + " ",
        lambda text: base64.urlsafe_b64encode(b"\2" + base64.urlsafe_b64decode(text)[1:]).decode(),
        lambda text: encode(RefreshToken(TOKEN.session_id, 8), bytes(32)),
        lambda text: encode(RefreshToken(uuid4(), 7), b"another key" * 3),
    ],
)
def test_no_other_form_is_accepted(spoil: object) -> None:
    with pytest.raises(RefreshTokenError):
        decode(spoil(encode(TOKEN, SECRET)), SECRET)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (alive(8, rotated=29.9), "repeat"),
        (alive(8, rotated=30.1), "reused"),
        (alive(9, rotated=0.1), "reused"),
        (alive(12), "reused"),
        (alive(6), "ahead"),
        (alive(7), "undecided"),
        (Seen(8, "revoked", seconds_since_rotation=1), "revoked"),
        (Seen(8, "expired", seconds_since_rotation=1), "expired"),
    ],
)
def test_what_a_used_token_means(seen: Seen, verdict: str) -> None:
    assert judge(TOKEN, seen, grace_seconds=30) == verdict


@given(st.integers(0, 20), st.integers(0, 20), st.floats(0, 100))
def test_only_the_last_predecessor_is_ever_forgiven(own: int, current: int, rotated: float) -> None:
    verdict = judge(RefreshToken(TOKEN.session_id, own), alive(current, rotated=rotated), grace_seconds=30)
    assert (verdict == "repeat") == (own == current - 1 and rotated < 30)
    assert (verdict == "reused") == (own < current and verdict != "repeat")
