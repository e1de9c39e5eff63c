"""precis.setup.postgrest: the template filled for one machine."""

import dataclasses
from pathlib import Path

import pytest
from precis.faults import BadConfiguration
from precis.layout import locate
from precis.setup import config
from precis.setup.postgrest import connection_url, render
from precis.setup.settings import StackSettings, load

TEMPLATE = (Path(__file__).resolve().parents[3] / "postgrest/postgrest.conf").read_text()


@pytest.fixture
def settings(tmp_path: Path) -> StackSettings:
    layout = locate({"PRECIS_CONFIG": str(tmp_path / "config.toml")})
    config.fill(layout, "")
    return load(StackSettings, layout)


def lines(text: str) -> dict[str, str]:
    pairs = (line.split(" = ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs}


def test_no_hole_is_left_and_no_secret_for_tokens_is_in_it(settings: StackSettings) -> None:
    filled = lines(render(TEMPLATE, settings))
    assert not any("${" in value for value in filled.values())
    assert "jwt-secret" not in filled
    assert filled["server-port"] == settings.postgrest_listen.split(":")[1]


def test_a_unix_socket_takes_the_place_of_host_and_port(settings: StackSettings) -> None:
    filled = lines(
        render(TEMPLATE, dataclasses.replace(settings, postgrest_listen="unix:/run/precis/rest.sock"))
    )
    assert filled["server-unix-socket"] == '"/run/precis/rest.sock"'
    assert "server-port" not in filled


def test_origins_are_listed_for_browsers(settings: StackSettings) -> None:
    origins = ("https://a.example", "https://b.example")
    filled = lines(render(TEMPLATE, dataclasses.replace(settings, postgrest_origins=origins)))
    assert filled["server-cors-allowed-origins"] == '"https://a.example, https://b.example"'


def test_a_quote_in_a_value_cannot_end_it(settings: StackSettings) -> None:
    filled = lines(render(TEMPLATE, dataclasses.replace(settings, audience='a" b\\')))
    assert filled["jwt-aud"] == r'"a\" b\\"'


def test_an_admin_address_that_old_versions_cannot_have_is_refused(settings: StackSettings) -> None:
    with pytest.raises(BadConfiguration, match="every PostgREST"):
        render(TEMPLATE, dataclasses.replace(settings, postgrest_admin="0.0.0.0:1"))


def test_hosts_that_do_not_take_writes_or_hang_are_left() -> None:
    url = connection_url("postgresql://a:p%40w@h1:1,h2:2/precis?connect_timeout=9")
    assert url.startswith(
        "postgresql://a:p%40w@h1:1,h2:2/precis?target_session_attrs=read-write&connect_timeout=9&"
    )
