"""What the command reads from the settings: its own section, and where each part listens."""

import os
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from chassis import settings as chassis_settings
from chassis.settings import key
from precis.faults import BadConfiguration
from precis.layout import Layout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlaceSettings:
    """What must be known before there is a config.toml."""

    data_dir: str = key("local.data_dir")
    postgres_url: str = key("local.postgres_url", secret=True)


@dataclass(frozen=True, slots=True)
class StackSettings:
    """What `precis setup` has written."""

    postgres_url: str = key("local.postgres_url", secret=True)
    postgres_listen: str = key("local.postgres_listen")
    owner_url: str = key("local.owner_url", secret=True)
    demo_email: str = key("local.demo_email")
    demo_password: str = key("local.demo_password", secret=True)
    postgrest_url: str = key("postgrest.database_url", secret=True)
    postgrest_listen: str = key("postgrest.listen")
    postgrest_admin: str = key("postgrest.admin_listen")
    postgrest_origins: tuple[str, ...] = key("postgrest.allowed_origins")
    postgrest_binary: str = key("postgrest.binary")
    audience: str = key("authsvc.audience")
    authsvc_url: str = key("authsvc.database_url", secret=True)
    authsvc_listen: str = key("authsvc.listen")
    authsvc_admin: str = key("authsvc.admin_listen")
    events_url: str = key("events.database_url", secret=True)
    events_listen: str = key("events.listen")
    events_admin: str = key("events.admin_listen")
    work_url: str = key("work.database_url", secret=True)
    work_admin: str = key("work.admin_listen")
    work_hosts: tuple[str, ...] = key("work.hosts")
    engine_listen: str = key("engine.listen")
    engine_admin: str = key("engine.admin_listen")


def load(cls: type[T], layout: Layout) -> T:
    """Settings from this layout's config.toml, from the defaults alone if it is not there yet. Raises
    BadConfiguration."""
    environ = {**os.environ, "PRECIS_CONFIG": str(layout.config) if layout.config.exists() else os.devnull}
    try:
        return chassis_settings.load(cls, environ=environ)
    except chassis_settings.SettingsError as error:
        lines = tuple(error.faults)
        raise BadConfiguration(
            "bad_settings", f"{layout.config} has faults. Mend them.", lines=lines
        ) from error


def service_urls(settings: StackSettings) -> tuple[str, str, str]:
    """Where clients find PostgREST, authsvc and the event streams. Raises BadConfiguration."""
    return url(settings.postgrest_listen), url(settings.authsvc_listen), url(settings.events_listen)


def without_secrets(address: str) -> str:
    """A URL without password, and without user where that is no role of a database; empty if it is no URL."""
    parts = urlsplit(address)
    if not parts.scheme or not parts.netloc:
        return ""
    userinfo, _, hosts = parts.netloc.rpartition("@")
    role = userinfo.partition(":")[0] if parts.scheme in ("postgresql", "postgres") else ""
    return urlunsplit(parts._replace(netloc=f"{role}@{hosts}" if role else hosts, query="", fragment=""))


def url(address: str) -> str:
    """The URL of something that listens here."""
    if address.startswith("unix:"):
        raise BadConfiguration(
            "local_needs_port", f"The local stack reaches its parts by host:port, not by {address}."
        )
    return f"http://{address}"
