"""What authsvc can be told, and which values it refuses to start with.

Knows no module that uses a value.
"""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from authsvc.keys.master import MasterKey
from chassis.serving import parse_address
from chassis.settings import SettingsError, key

BCRYPT_COSTS = range(10, 15)
# Anything cheaper can be guessed at speed: good enough only where nobody but this machine can ask.
TEST_BCRYPT_COSTS = range(4, 15)
PASSWORD_MIN_LENGTH_FLOOR = 8
RANGES = {
    "pool_size": range(1, 1001),
    "access_token_seconds": range(60, 3601),
    "session_absolute_days": range(1, 366),
    "sessions_per_account": range(1, 1001),
    "bcrypt_threads": range(257),
    "logins_per_minute": range(1, 1_000_001),
    "logins_per_hour": range(1, 1_000_001),
    "registrations_per_hour": range(1, 1_000_001),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The [authsvc] section, and [log]."""

    database_url: str = key("authsvc.database_url", secret=True)
    pool_size: int = key("authsvc.pool_size")
    listen: str = key("authsvc.listen")
    admin_listen: str = key("authsvc.admin_listen")
    public_url: str = key("authsvc.public_url")
    postgrest_url: str = key("authsvc.postgrest_url")
    audience: str = key("authsvc.audience")
    master_key: str = key("authsvc.master_key", secret=True)
    access_token_seconds: int = key("authsvc.access_token_seconds")
    session_idle_days: int = key("authsvc.session_idle_days")
    session_absolute_days: int = key("authsvc.session_absolute_days")
    refresh_grace_seconds: int = key("authsvc.refresh_grace_seconds")
    sessions_per_account: int = key("authsvc.sessions_per_account")
    bcrypt_cost: int = key("authsvc.bcrypt_cost")
    bcrypt_threads: int = key("authsvc.bcrypt_threads")
    password_min_length: int = key("authsvc.password_min_length")
    logins_per_minute: int = key("authsvc.logins_per_minute")
    logins_per_hour: int = key("authsvc.logins_per_hour")
    registrations_per_hour: int = key("authsvc.registrations_per_hour")
    allowed_origins: tuple[str, ...] = key("authsvc.allowed_origins")
    trusted_proxies: tuple[str, ...] = key("authsvc.trusted_proxies")
    log_level: Literal["debug", "info", "warning", "error"] = key("log.level")
    log_format: Literal["auto", "json", "console"] = key("log.format")

    def __post_init__(self) -> None:
        if faults := [f"authsvc.{fault}" for fault in _faults(self)]:
            raise SettingsError(faults)

    @property
    def on_loopback(self) -> bool:
        """Whether nobody but this machine can reach the service, whatever is in front of it."""
        return is_loopback(self.listen) and is_loopback_host(urlsplit(self.public_url).hostname)


def is_loopback(address: str) -> bool:
    """Whether an address to listen on (host:port or unix:/path) is reachable from this machine only."""
    target = parse_address(address)
    return isinstance(target, str) or is_loopback_host(target[0])


def is_loopback_host(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_origin(url: str) -> bool:
    """Whether it is scheme://host[:port] as browsers write it, and safe to carry credentials."""
    try:
        parts = urlsplit(url)
        is_default_port = parts.port == {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return False
    secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(parts.hostname))
    bare = f"{parts.scheme}://{parts.netloc}".lower() == url and "@" not in url and not is_default_port
    return secure and bare and bool(parts.hostname)


def _faults(settings: Settings) -> Iterator[str]:
    for name in ("listen", "admin_listen"):
        try:
            parse_address(getattr(settings, name))
        except ValueError as error:
            yield f"{name}: {error}"
            return
    for name, allowed in RANGES.items():
        if getattr(settings, name) not in allowed:
            yield f"{name}: expected {allowed[0]} to {allowed[-1]}"
    yield from _address_faults(settings)
    yield from _secret_faults(settings)
    yield from _duration_faults(settings)


def _address_faults(settings: Settings) -> Iterator[str]:
    if not is_origin(settings.public_url):
        yield "public_url: expected https://host without a path (http only on a loopback address)"
    if settings.postgrest_url and urlsplit(settings.postgrest_url).scheme not in ("http", "https"):
        yield "postgrest_url: expected http://host:port, or nothing"
    for origin in settings.allowed_origins:
        if not is_origin(origin):
            yield f"allowed_origins: expected https://host without a path, got {origin!r}"
    for proxy in settings.trusted_proxies:
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            yield f"trusted_proxies: expected an address or a network such as 10.0.0.0/8, got {proxy!r}"
    if not settings.audience or ":" in settings.audience:
        yield "audience: expected a word without a colon (PostgREST 12 takes what has one for a URI)"


def _secret_faults(settings: Settings) -> Iterator[str]:
    try:
        MasterKey.parse(settings.master_key)
    except ValueError as error:
        yield f"master_key: {error}"
    costs = TEST_BCRYPT_COSTS if settings.on_loopback else BCRYPT_COSTS
    if settings.bcrypt_cost not in costs:
        only = f"(below {BCRYPT_COSTS[0]} only on a loopback address)"
        yield f"bcrypt_cost: expected {costs[0]} to {costs[-1]} {only}"
    if not PASSWORD_MIN_LENGTH_FLOOR <= settings.password_min_length <= 64:
        yield f"password_min_length: expected {PASSWORD_MIN_LENGTH_FLOOR} to 64"


def _duration_faults(settings: Settings) -> Iterator[str]:
    if not 1 <= settings.session_idle_days <= settings.session_absolute_days:
        yield "session_idle_days: expected 1 to session_absolute_days"
    if not 0 <= settings.refresh_grace_seconds <= settings.access_token_seconds:
        yield "refresh_grace_seconds: expected 0 to access_token_seconds"
