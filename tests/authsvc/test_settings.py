"""What authsvc refuses to start with."""

from pathlib import Path
from typing import Any

import pytest

from authsvc.settings import Settings, is_origin
from chassis.settings import SettingsError, load
from tests.authsvc.fix_service import MASTER_KEY

PRODUCTION = {"public_url": "https://auth.example.org", "bcrypt_cost": "12"}


@pytest.fixture
def configure(tmp_path: Path) -> Any:
    def configured(**changed: str) -> Settings:
        (tmp_path / "config.toml").touch()
        given = {"database_url": "postgresql://authsvc@localhost/precis", "master_key": MASTER_KEY} | changed
        environ = {f"PRECIS_AUTHSVC_{name.upper()}": value for name, value in given.items()}
        return load(Settings, environ={"PRECIS_CONFIG": str(tmp_path / "config.toml"), **environ})

    return configured


def test_the_defaults_are_good_for_one_machine(configure: Any) -> None:
    assert configure().on_loopback


def test_production_settings_are_accepted(configure: Any) -> None:
    assert not configure(**PRODUCTION).on_loopback


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("master_key", ""),
        ("master_key", "change-me"),
        ("master_key", "A" * 43),
        ("master_key", "YWJjZGFiY2RhYmNkYWJjZGFiY2RhYmNkYWJjZGFiY2Q"),
        ("master_key", MASTER_KEY[:40]),
        ("public_url", "http://auth.example.org"),
        ("public_url", "https://auth.example.org/"),
        ("public_url", "https://AUTH.example.org"),
        ("public_url", "https://user@auth.example.org"),
        ("public_url", "auth.example.org"),
        ("bcrypt_cost", "4"),
        ("bcrypt_cost", "9"),
        ("bcrypt_cost", "15"),
        ("password_min_length", "7"),
        ("audience", "urn:precis"),
        ("audience", ""),
        ("allowed_origins", "*"),
        ("allowed_origins", "null"),
        ("allowed_origins", "http://app.example.org"),
        ("trusted_proxies", "gateway"),
        ("postgrest_url", "127.0.0.1:3000"),
        ("listen", "8081"),
        ("pool_size", "0"),
        ("session_idle_days", "31"),
        ("refresh_grace_seconds", "601"),
        ("access_token_seconds", "86400"),
    ],
)
def test_production_refuses(configure: Any, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=rf"^authsvc\.{name}: "):
        configure(**PRODUCTION | {name: value})


@pytest.mark.parametrize("listen", ["0.0.0.0:8081", "10.1.2.3:8081", "[::]:8081"])
def test_a_test_cost_needs_every_address_on_loopback(configure: Any, listen: str) -> None:
    assert configure(bcrypt_cost="4").bcrypt_cost == 4
    assert configure(bcrypt_cost="4", listen="unix:/run/authsvc.sock").bcrypt_cost == 4
    with pytest.raises(SettingsError, match="bcrypt_cost"):
        configure(bcrypt_cost="4", listen=listen)


def test_all_faults_are_told_at_once(configure: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(master_key="x", public_url="http://example.org", pool_size="0", audience=":")
    assert len(caught.value.faults) == 4


def test_no_fault_shows_the_master_key(configure: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        configure(master_key="my-very-own-secret")
    assert "my-very-own-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "origin", ["https://a.example.org:443", "https://a.example.org?x", "https://", "https://a:b"]
)
def test_is_no_origin_that_a_browser_would_send(origin: str) -> None:
    assert not is_origin(origin)
