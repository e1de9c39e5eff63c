"""Settings: which layer wins, what is refused in which words, and that config.default.toml is complete."""

import importlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from chassis.settings import (
    KEY_LINE,
    Given,
    SettingsError,
    bound,
    convert,
    defaults_path,
    describe,
    key,
    known_keys,
    load,
)

PACKAGES = ("chassis", "listener", "authsvc", "precis")


@dataclass(frozen=True, slots=True)
class Sample:
    attempts: int = key("work.max_attempts")
    hosts: tuple[str, ...] = key("work.hosts")
    format: Literal["auto", "json", "console"] = key("log.format")


@dataclass(frozen=True, slots=True)
class WithSecret:
    url: str = key("work.database_url", secret=True)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from the developer's own config.toml."""
    monkeypatch.chdir(tmp_path)


def faults_of(cls: type, environ: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load(cls, environ=environ)
    return caught.value.faults


def config(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    path.write_text(text)
    return {"PRECIS_CONFIG": str(path)}


def credentials(tmp_path: Path, **files: str) -> dict[str, str]:
    for name, text in files.items():
        (tmp_path / name.replace("__", ".")).write_text(text)
    return {"CREDENTIALS_DIRECTORY": str(tmp_path)}


def test_without_anything_else_the_shipped_defaults_hold() -> None:
    assert load(Sample, environ={}) == Sample(5, ("http://127.0.0.1:11434",), "auto")


def test_each_later_layer_wins_over_the_earlier_ones(tmp_path: Path) -> None:
    environ = config(tmp_path, "[work]\nmax_attempts = 6\n")
    assert load(Sample, environ=environ).attempts == 6
    environ |= {"PRECIS_WORK_MAX_ATTEMPTS": "7"}
    assert load(Sample, environ=environ).attempts == 7
    environ |= credentials(tmp_path, work__max_attempts="8\n")
    assert load(Sample, environ=environ).attempts == 8


def test_config_toml_of_the_working_directory_is_read_without_being_named(tmp_path: Path) -> None:
    config(tmp_path, "[work]\nmax_attempts = 6\n")
    assert load(Sample, environ={}).attempts == 6


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    loaded = load(Sample, environ={"PRECIS_WORK_HOSTS": "http://a:1, http://b:2"})
    assert loaded.hosts == ("http://a:1", "http://b:2")
    assert load(Sample, environ={"PRECIS_WORK_HOSTS": ""}).hosts == ()


def test_all_faults_come_at_once_with_key_source_and_what_is_expected(tmp_path: Path) -> None:
    environ = config(tmp_path, '[work]\nhosts = "http://a:1"\n') | credentials(tmp_path, log__format="yaml")
    faults = faults_of(Sample, environ | {"PRECIS_WORK_MAX_ATTEMPTS": "many"})
    assert faults == [
        "work.max_attempts: must be a whole number, not 'many' "
        "(from PRECIS_WORK_MAX_ATTEMPTS in the environment)",
        f"work.hosts: must be a list of texts, none empty, not 'http://a:1' (from {tmp_path}/config.toml)",
        "log.format: must be one of auto, json, console, not 'yaml' "
        f"(from the credential {tmp_path}/log.format)",
    ]


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (bool, "true", True),
        (bool, "false", False),
        (int, "-3", -3),
        (float, "2", 2.0),
        (float, "0.25", 0.25),
        (str, " kept ", " kept "),
    ],
)
def test_text_is_read_as_the_type_of_its_field(hint: Any, text: str, value: Any) -> None:
    made = convert(Given(text, "", is_text=True), hint)
    assert (made, type(made)) == (value, hint)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        *((bool, text) for text in ("True", "1", "yes", "", " true")),
        *((int, text) for text in ("1.0", "1_000", " 1", "0x10", "", "٣", "9" * 5000)),
        *((float, text) for text in ("inf", "nan", "1e9", "1_0.0", "", ".5")),
        *((tuple[str, ...], text) for text in (",", "a,,b", "a,")),
        (str, "a\0b"),
    ],
)
def test_text_of_another_form_is_refused(hint: Any, text: str) -> None:
    with pytest.raises(ValueError):
        convert(Given(text, "", is_text=True), hint)


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, 1.0),
        (int, "1"),
        (float, True),
        (float, float("inf")),
        (bool, 1),
        (bool, "true"),
        (str, 5),
        (tuple[str, ...], [1]),
        (tuple[str, ...], [""]),
        (Literal["a"], ["a"]),
    ],
)
def test_a_toml_value_of_another_type_is_refused(hint: Any, value: Any) -> None:
    with pytest.raises(ValueError):
        convert(Given(value, "", is_text=False), hint)


def test_a_setting_without_default_is_required_and_says_how_to_give_it() -> None:
    (fault,) = faults_of(WithSecret, {})
    assert fault == (
        "work.database_url: required: set it in config.toml, as PRECIS_WORK_DATABASE_URL, "
        "or as a credential named work.database_url"
    )


def test_a_required_setting_that_is_empty_counts_as_missing() -> None:
    (fault,) = faults_of(WithSecret, {"PRECIS_WORK_DATABASE_URL": ""})
    assert "required" in fault


def test_a_secret_is_shown_nowhere(tmp_path: Path) -> None:
    loaded = load(WithSecret, environ={"PRECIS_WORK_DATABASE_URL": "hush"})
    (fault,) = faults_of(WithSecret, config(tmp_path, '[work]\ndatabase_url = ["hush"]\n'))
    assert "hush" not in describe(loaded) + repr(loaded) + fault
    assert describe(loaded) == 'work.database_url = "********"'


def test_a_credential_loses_only_its_final_newline(tmp_path: Path) -> None:
    environ = credentials(tmp_path, work__database_url=" two \n\n")
    assert load(WithSecret, environ=environ).url == " two \n"


def test_a_credential_that_cannot_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "work.database_url").mkdir()
    faults = faults_of(WithSecret, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert "work.database_url: the credential" in faults[0]


def test_unknown_keys_and_sections_of_config_toml_are_faults(tmp_path: Path) -> None:
    faults = faults_of(Sample, config(tmp_path, "loose = 1\n[work]\nmax_atempts = 3\n[wrok]\nhosts = []\n"))
    assert [fault.split(":")[0] for fault in faults] == ["loose", "work.max_atempts", "wrok.hosts"]


def test_a_required_key_may_stand_in_config_toml(tmp_path: Path) -> None:
    environ = config(tmp_path, '[work]\ndatabase_url = "postgresql:///"\n')
    assert load(WithSecret, environ=environ).url == "postgresql:///"


@pytest.mark.parametrize("text", ["[work\n", "a = \xff"])
def test_a_config_toml_that_is_no_toml_is_a_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.toml").write_bytes(text.encode("latin-1"))
    (fault,) = faults_of(Sample, {})
    assert "config.toml: cannot be read as TOML" in fault


def test_a_named_config_file_must_exist() -> None:
    (fault,) = faults_of(Sample, {"PRECIS_CONFIG": "nowhere.toml"})
    assert fault.startswith("nowhere.toml: cannot be read as TOML")


def test_the_description_is_toml_with_the_effective_values() -> None:
    described = tomllib.loads(describe(load(Sample, environ={"PRECIS_LOG_FORMAT": "json"})))
    assert described["work"] == {"max_attempts": 5, "hosts": ["http://127.0.0.1:11434"]}
    assert described["log"] == {"format": "json"}


def test_a_field_that_is_bound_to_nothing_is_refused() -> None:
    @dataclass
    class Loose:
        name: str = "x"

    with pytest.raises(TypeError, match=r"Loose\.name"):
        load(Loose, environ={})


def test_an_installed_package_reads_the_defaults_beside_its_module(tmp_path: Path) -> None:
    package = tmp_path / "chassis"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(sys.modules["chassis.settings"].__file__ or "", package)
    (package / "config.default.toml").write_text("")
    code = "from chassis.settings import defaults_path; print(defaults_path())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(package / "config.default.toml")


def settings_classes() -> Iterator[type]:
    """Every dataclass with key() fields in the modules called settings of our packages."""
    for package in map(importlib.import_module, PACKAGES):
        root = Path(package.__path__[0])
        for path in root.rglob("settings.py"):
            parts = path.relative_to(root.parent).with_suffix("").parts
            for value in vars(importlib.import_module(".".join(parts))).values():
                if isinstance(value, type) and is_dataclass(value) and value.__module__ == ".".join(parts):
                    yield value


def bound_keys() -> set[str]:
    return {field.metadata["key"] for cls in settings_classes() for field in bound(cls)}


def test_every_setting_of_every_process_has_its_line_in_the_defaults() -> None:
    assert bound_keys() - known_keys() == set()


def test_every_line_of_the_defaults_has_a_process_that_reads_it() -> None:
    assert known_keys() - bound_keys() == set()


def test_every_line_of_the_defaults_follows_its_sentence() -> None:
    lines = defaults_path().read_text().splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if KEY_LINE.match(line):
            assert before.startswith("# "), line
            assert before.endswith("."), line


def test_a_setting_has_a_default_or_is_marked_as_required_never_both() -> None:
    defaults = tomllib.loads(defaults_path().read_text())
    given = {f"{section}.{name}" for section, values in defaults.items() for name in values}
    lines = [line for line in defaults_path().read_text().splitlines() if KEY_LINE.match(line)]
    assert len(lines) == len(known_keys())
    assert len(given) == len([line for line in lines if not line.startswith("#")])
