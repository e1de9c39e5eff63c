"""What the bodies of requests hold: exactly the named fields, of the named types.

Knows shapes only; whether an address or a password is good is asked elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from authsvc.endpoints.browsers import Delivery
from authsvc.errors import InvalidBodyError
from authsvc.sessions import Scope


@dataclass(frozen=True, slots=True)
class Credentials:
    """The body of a registration or a log-in."""

    email: str
    password: str
    delivery: Delivery

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Credentials":
        _require_known(body, "email", "password", "delivery")
        delivery = _choice(body, "delivery", get_args(Delivery), default="body")
        return cls(_text(body, "email"), _text(body, "password"), cast(Delivery, delivery))


@dataclass(frozen=True, slots=True)
class Refresh:
    """The body of a refresh. Without a token the cookie is meant."""

    refresh_token: str | None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Refresh":
        _require_known(body, "refresh_token")
        return cls(_optional_text(body, "refresh_token"))


@dataclass(frozen=True, slots=True)
class Logout:
    """The body of a log-out."""

    refresh_token: str | None
    scope: Scope

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> "Logout":
        _require_known(body, "refresh_token", "scope")
        scope = _choice(body, "scope", get_args(Scope), default="local")
        return cls(_optional_text(body, "refresh_token"), cast(Scope, scope))


def _require_known(body: Mapping[str, Any], *fields: str) -> None:
    for name in body:
        if name not in fields:
            # The name is the sender's text, so it is not repeated.
            message = f"Send only these fields: {', '.join(fields)}."
            raise InvalidBodyError("unknown_field", message)


def _text(body: Mapping[str, Any], field: str) -> str:
    if field not in body:
        raise InvalidBodyError("missing_field", f"Send the field {field}.", field=field)
    value = body[field]
    if not isinstance(value, str):
        raise InvalidBodyError("invalid_field", f"Send {field} as a text.", field=field)
    return value


def _optional_text(body: Mapping[str, Any], field: str) -> str | None:
    return _text(body, field) if field in body else None


def _choice(body: Mapping[str, Any], field: str, choices: tuple[str, ...], *, default: str) -> str:
    value = body.get(field, default)
    if value not in choices:
        message = f"{field} must be one of: {', '.join(choices)}."
        raise InvalidBodyError("invalid_field", message, field=field)
    return cast(str, value)
