"""precis.setup.toml_file: values set in a TOML file that a person edits too."""

import stat
import tomllib
from pathlib import Path

import pytest
from precis.faults import BadConfiguration
from precis.setup.toml_file import edited, read, write_private

TEXT = """\
# mine
[authsvc]
# a port that I like
listen = "127.0.0.1:1"  # yes

[work]
hosts = ["http://a"]
"""


def test_setting_a_value_leaves_comments_and_other_lines_alone() -> None:
    result = edited(TEXT, {("authsvc", "admin_listen"): "127.0.0.1:2"})
    assert [line for line in result.splitlines() if "admin_listen" not in line] == TEXT.splitlines()
    assert tomllib.loads(result)["authsvc"]["admin_listen"] == "127.0.0.1:2"


def test_a_value_that_is_there_is_replaced_in_its_place() -> None:
    result = edited(TEXT, {("authsvc", "listen"): "127.0.0.1:9"})
    assert result == TEXT.replace("127.0.0.1:1", "127.0.0.1:9")


def test_a_new_section_comes_last_and_an_empty_file_will_do() -> None:
    assert edited("", {("local", "data_dir"): 'é"\\'}) == '[local]\ndata_dir = "é\\"\\\\"\n'
    assert edited(TEXT, {("log", "level"): "debug"}).endswith('\n\n[log]\nlevel = "debug"\n')


@pytest.mark.parametrize("text", [
    'work = { hosts = ["a"] }\n', "work.hosts = ['a']\n", '["work"]\nhosts = ["a"]',
    "[work.more]\na = 1\n[log]\n",
])  # fmt: skip
def test_a_section_may_be_written_in_any_way(text: str) -> None:
    result = tomllib.loads(edited(text, {("work", "admin_listen"): "127.0.0.1:3", ("work", "port"): 3}))
    assert result["work"] == {**tomllib.loads(text)["work"], "admin_listen": "127.0.0.1:3", "port": 3}


@pytest.mark.parametrize("text", ["work = 3\n", "[[work]]\nhosts = []\n"])
def test_what_is_no_section_is_refused_not_broken(text: str) -> None:
    with pytest.raises(BadConfiguration, match="cannot edit"):
        edited(text, {("work", "admin_listen"): "127.0.0.1:3"})


def test_a_file_that_is_no_toml_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[work\n")
    with pytest.raises(BadConfiguration, match="is not valid TOML"):
        read(tmp_path / "config.toml")


def test_secrets_are_written_for_the_owner_alone_even_over_an_open_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, "new")
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o600)
    assert list(tmp_path.iterdir()) == [file]
