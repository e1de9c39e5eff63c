"""precis.layout: where a stack's files lie."""

from pathlib import Path

import pytest
from precis.faults import BadConfiguration
from precis.layout import locate, parts_cache


def test_a_stack_lives_in_its_checkout_unless_a_configuration_is_named(tmp_path: Path) -> None:
    here = locate({})
    assert here.home == here.checkout == Path(__file__).resolve().parents[2]
    other = locate({"PRECIS_CONFIG": str(tmp_path / "mine.toml")})
    assert (other.home, other.checkout) == (tmp_path, here.checkout)
    assert other.mark != here.mark


def test_downloads_are_shared_by_a_users_checkouts(tmp_path: Path) -> None:
    cache = parts_cache(tmp_path / "own", {"XDG_CACHE_HOME": str(tmp_path / "c")})
    assert cache == tmp_path / "c/precis"


def test_a_user_without_a_home_has_them_beside_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file/home"))  # root could make any other
    assert parts_cache(tmp_path / "own", {}) == tmp_path / "own"


def test_a_cache_that_cannot_be_had_is_named_with_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadConfiguration, match="XDG_CACHE_HOME"):
        parts_cache(tmp_path / "own", {"XDG_CACHE_HOME": str(tmp_path / "file/c")})


def test_a_home_that_nobody_has_is_a_sentence() -> None:
    with pytest.raises(BadConfiguration, match="~nobody-of-that-name/x: there is no such home folder"):
        locate({"PRECIS_CONFIG": "~nobody-of-that-name/x"})
