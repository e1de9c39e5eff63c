"""precis.setup.config: what config.toml gets, and the files derived from it."""

import dataclasses
import itertools
import socket
import stat
import tomllib
from pathlib import Path

import pytest
from precis.layout import Layout, locate
from precis.setup import config
from precis.setup.ports import port_of
from precis.setup.settings import StackSettings, load


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return locate({"PRECIS_CONFIG": str(tmp_path / "config.toml")})


def ports() -> "itertools.count[int]":
    return itertools.count(20000)


def read(layout: Layout) -> dict[str, dict[str, str]]:
    return tomllib.loads(layout.config.read_text())


def test_a_fresh_configuration_is_private_complete_and_different_each_time(layout: Layout) -> None:
    config.fill(layout, "")
    first = read(layout)
    assert stat.S_IMODE(layout.config.stat().st_mode) == 0o600
    assert load(StackSettings, layout).demo_password
    layout.config.unlink()
    config.fill(layout, "")
    assert read(layout)["authsvc"]["master_key"] != first["authsvc"]["master_key"]


def test_a_second_run_changes_nothing(layout: Layout) -> None:
    config.fill(layout, "")
    before = layout.config.read_bytes()
    assert config.fill(layout, "") == ()
    assert layout.config.read_bytes() == before


def test_what_a_person_has_set_stays(layout: Layout) -> None:
    layout.config.write_text(
        '[authsvc]\npublic_url = "https://sign-in.example.org"\nlisten = "127.0.0.1:7"\n'
    )
    config.fill(layout, "")
    assert read(layout)["authsvc"]["public_url"] == "https://sign-in.example.org"
    assert read(layout)["authsvc"]["listen"] == "127.0.0.1:7"


def test_every_part_gets_a_port_of_its_own() -> None:
    plan = config.plan({}, "", ports())
    addresses = [plan[path] for path in config.LISTENS]
    assert len(set(addresses)) == len(config.LISTENS)


def test_roles_reach_a_configured_server_with_its_hosts_and_options() -> None:
    plan = config.plan({}, "postgresql://super:s3cret@db1:5432,db2:5433/postgres?sslmode=require", ports())
    url = str(plan["work", "database_url"])
    assert url.startswith("postgresql://listener:")
    assert url.endswith("@db1:5432,db2:5433/precis?sslmode=require")
    assert "s3cret" not in url


def test_passwords_survive_a_change_of_server() -> None:
    before = config.plan({}, "", ports())
    sections: dict[str, dict[str, object]] = {}
    for (section, name), value in before.items():
        sections.setdefault(section, {})[name] = value
    after = config.plan(sections, "postgresql://super@elsewhere/postgres", ports())
    password = str(before["local", "owner_url"]).split(":")[2].split("@")[0]
    assert after["local", "owner_url"] == f"postgresql://precis_owner:{password}@elsewhere/precis"


def test_a_part_whose_port_is_taken_moves_and_all_that_names_it_follows(layout: Layout) -> None:
    config.fill(layout, "")
    before = read(layout)
    with socket.create_server(("127.0.0.1", port_of(before["authsvc"]["listen"]) or 0)):
        moved = config.move(layout, "")
    after = read(layout)
    assert (
        moved
        == {"authsvc.listen": after["authsvc"]["listen"]}
        != {"authsvc.listen": before["authsvc"]["listen"]}
    )
    assert after["authsvc"]["public_url"] == f"http://{after['authsvc']['listen']}"
    assert after["events"] == before["events"]


def test_nothing_moves_while_the_ports_are_free(layout: Layout) -> None:
    config.fill(layout, "")
    before = layout.config.read_bytes()
    assert config.move(layout, "") == {}
    assert layout.config.read_bytes() == before


def test_dbmate_is_told_not_to_ask_for_tls_unless_the_address_does() -> None:
    assert config.migration_url("postgresql://o:p@h:1/precis") == "postgres://o:p@h:1/precis?sslmode=disable"
    assert config.migration_url("postgresql://o@h/precis?sslmode=verify-full").endswith(
        "precis?sslmode=verify-full"
    )


def test_the_derived_files_are_private_and_follow_the_settings(layout: Layout) -> None:
    config.fill(layout, "")
    layout.data.mkdir()
    settings = load(StackSettings, layout)
    config.derive(layout, dataclasses.replace(settings, audience="elsewhere"))
    assert 'jwt-aud = "elsewhere"' in layout.postgrest_conf.read_text()
    assert f"DATABASE_URL={config.migration_url(settings.owner_url)}\n" in layout.dotenv.read_text()
    for file in (layout.postgrest_conf, layout.dotenv):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
