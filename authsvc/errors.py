"""Every refusal of authsvc: its HTTP status, its stable code, and what to do about it. All are here.

AuthError
├── InvalidBodyError            422  unknown_field, missing_field, invalid_field
├── InvalidEmailError           422  invalid_email
├── UnacceptablePasswordError   422  password_too_short, password_too_long, password_too_common,
│                                    password_like_email, invalid_password
├── EmailTakenError             409  email_taken
├── InvalidCredentialsError     401  invalid_credentials
├── AccountBannedError          403  account_banned
├── RetryLaterError
│   ├── RateLimitedError        429  rate_limited
│   ├── SignInBlockedError      429  sign_in_blocked
│   ├── OverloadedError         503  overloaded
│   └── UnavailableError        503  unavailable
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

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(422, code, message, details={"field": field} if field else None)


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


class RetryLaterError(AuthError):
    """The seconds are in the body too: a browser's script cannot read the header of another origin."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: float) -> None:
        seconds = max(1, ceil(retry_after))
        headers = {"Retry-After": str(seconds)}
        super().__init__(status, code, message, details={"retry_after": seconds}, headers=headers)


class RateLimitedError(RetryLaterError):
    def __init__(self, retry_after: float) -> None:
        super().__init__(429, "rate_limited", "Too many attempts. Try again later.", retry_after=retry_after)


class SignInBlockedError(RetryLaterError):
    """So many failures in a row are no typing errors. Addresses without an account are treated the same."""

    def __init__(self) -> None:
        message = "Signing in to this address is blocked after too many failures. Write to the operator."
        super().__init__(429, "sign_in_blocked", message, retry_after=BLOCKED_RETRY_SECONDS)


class OverloadedError(RetryLaterError):
    def __init__(self, retry_after: float) -> None:
        message = "Too many people are signing in at this moment. Try again shortly."
        super().__init__(503, "overloaded", message, retry_after=retry_after)


class UnavailableError(RetryLaterError):
    def __init__(self) -> None:
        super().__init__(503, "unavailable", "The database does not answer. Try again.", retry_after=2)


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
