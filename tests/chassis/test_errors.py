"""The answer that an error becomes."""

import json

import pytest

from chassis.errors import ApiError


def body_of(error: ApiError) -> object:
    return json.loads(error.response().text or "")


def test_what_is_not_given_is_there_as_null() -> None:
    body = body_of(ApiError(404, "not_found", "Nothing here."))
    assert body == {"code": "not_found", "message": "Nothing here.", "details": None, "hint": None}


def test_an_error_tells_its_status_and_code_in_a_log() -> None:
    assert str(ApiError(409, "taken", "Choose another.")) == "409 taken: Choose another."


@pytest.mark.parametrize(("status", "kept"), [(400, None), (408, False), (413, False)])
def test_a_connection_with_an_unread_body_is_not_kept(status: int, kept: bool | None) -> None:
    assert ApiError(status, "x", "y").response().keep_alive is kept
