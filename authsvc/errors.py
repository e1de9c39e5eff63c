"""Every refusal of authsvc: its HTTP status, its stable code, and what to do about it. The one place that has them.

AuthError
├── InvalidBodyError            422  unknown_field, missing_field, invalid_field
├── InvalidEmailError           422  invalid_email
├── UnacceptablePasswordError   422  password_too_short, password_too_long, password_too_common,
│                                    password_like_email, invalid_password
├── EmailTakenError             409  email_taken
├── InvalidCredentialsError     401  invalid_credentials
├── AccountBannedError          403  account_banned
├── RateLimitedError            429  rate_limited, sign_in_blocked
├── OverloadedError             503  overloaded
├── UnavailableError            503  unavailable
├── RefreshTokenError           401  refresh_token_invalid, refresh_token_reused
├── SessionEndedError           401  session_revoked, session_expired
└── OriginError                 403  origin_not_allowed
"""

from math import ceil

from chassis.http import ApiError

BLOCKED_RETRY_SECONDS = 3600


class AuthError(ApiError):
    """A refusal of authsvc."""


class InvalidBodyError(AuthError):
    """The body's fields are not what the endpoint takes."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(422, code, message, details={"field": field})


class InvalidEmailError(AuthError):
    def __init__(self) -> None:
        super().__init__(422, "invalid_email", "Give an e-mail address such as name@example.org.")


class UnacceptablePasswordError(AuthError):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(422, code, message, details={"field": "password"})


class EmailTakenError(AuthError):
    def __init__(self) -> None:
        super().__init__(409, "email_taken", "There is an account with this address. Log in instead.")


class InvalidCredentialsError(AuthError):
    """One answer for every reason, so that it tells nobody which addresses have accounts."""

    def __init__(self) -> None:
        super().__init__(401, "invalid_credentials", "The e-mail address or the password is wrong.")


class AccountBannedError(AuthError):
    """Told only to who knows the password."""

    def __init__(self) -> None:
        super().__init__(403, "account_banned", "This account is closed. Write to the operator.")


class RateLimitedError(AuthError):
    """The seconds are in the body as well, since a browser's script cannot read the header of another origin."""

    def __init__(self, retry_after: float) -> None:
        seconds = max(1, ceil(retry_after))
        message = f"Too many attempts. Try again in {seconds} s."
        super().__init__(429, "rate_limited", message, **_retry(seconds))


class SignInBlockedError(AuthError):
    """So many failures in a row are no typing errors. Addresses without an account are treated the same."""

    def __init__(self) -> None:
        message = "Signing in to this address is blocked after too many failures. Write to the operator."
        super().__init__(429, "sign_in_blocked", message, **_retry(BLOCKED_RETRY_SECONDS))


class OverloadedError(AuthError):
    def __init__(self, retry_after: float) -> None:
        seconds = max(1, ceil(retry_after))
        message = "Too many people are signing in at this moment. Try again shortly."
        super().__init__(503, "overloaded", message, **_retry(seconds))


class UnavailableError(AuthError):
    def __init__(self) -> None:
        super().__init__(503, "unavailable", "The database does not answer. Try again.", **_retry(2))


class RefreshTokenError(AuthError):
    def __init__(self, code: str = "refresh_token_invalid") -> None:
        super().__init__(401, code, "The refresh token is not valid. Log in again.")


class SessionEndedError(AuthError):
    def __init__(self, code: str) -> None:
        super().__init__(401, code, "This session has ended. Log in again.")


class OriginError(AuthError):
    def __init__(self) -> None:
        message = "Pages of this origin may not use the session cookie. The operator can allow it."
        super().__init__(403, "origin_not_allowed", message)


class StartError(Exception):
    """The service cannot start as things are; the text says what to change."""


def _retry(seconds: int) -> dict[str, dict[str, object]]:
    return {"details": {"retry_after": seconds}, "headers": {"Retry-After": str(seconds)}}
