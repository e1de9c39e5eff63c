"""precis.stack.status: what it prints for scripts."""

import dataclasses
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from precis.layout import locate
from precis.setup import config
from precis.setup.settings import StackSettings, load, without_secrets
from precis.stack.model_server import Ollama
from precis.stack.state import State
from precis.stack.status import Contents, document


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    layout = locate({"PRECIS_CONFIG": str(tmp_path / "config.toml")})
    config.fill(layout, "postgresql://super:s3cret@db1:5432,db2:5433/postgres?sslmode=require")
    return load(StackSettings, layout)


def test_scripts_get_no_secret_but_the_demo_login(settings: StackSettings) -> None:
    addresses = [settings.owner_url, settings.postgrest_url, settings.authsvc_url, settings.events_url,
                 settings.work_url, settings.postgres_url]  # fmt: skip
    secrets = [urlsplit(address).password for address in addresses]
    assert None not in secrets
    told = json.dumps(document(settings, State(), [], Contents()))
    assert [secret for secret in secrets if str(secret) in told] == []
    assert json.loads(told)["database_url"] == "postgresql://precis_owner@db1:5432,db2:5433/precis"
    assert json.loads(told)["demo_password"] == settings.demo_password


def test_every_secret_setting_is_an_address_or_the_demo_login() -> None:
    secret = {each.name for each in dataclasses.fields(StackSettings) if not each.repr}
    assert {name for name in secret if not name.endswith("_url")} == {"demo_password"}


def test_a_model_server_is_told_without_its_password() -> None:
    assert Ollama("http://me:s3cret@host:11434", ()).shown == "http://host:11434"


@pytest.mark.parametrize(("address", "told"), [
    ("postgresql://o:p@h:1/d?password=x&sslpassword=y", "postgresql://o@h:1/d"),
    ("postgres://o:p%40q@[::1]:1/d", "postgres://o@[::1]:1/d"),
    ("postgresql://h/d", "postgresql://h/d"),
    ("https://token@h/ollama?key=x#y", "https://h/ollama"),
    ("host=h password=x", ""),
    ("", ""),
])  # fmt: skip
def test_an_address_is_told_without_secrets(address: str, told: str) -> None:
    assert without_secrets(address) == told
