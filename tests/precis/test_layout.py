"""precis.layout: where a stack's files lie."""

from pathlib import Path

from precis.layout import locate, parts_cache


def test_a_stack_lives_in_its_checkout_unless_a_configuration_is_named(tmp_path: Path) -> None:
    here = locate({})
    assert here.home == here.checkout == Path(__file__).resolve().parents[2]
    other = locate({"PRECIS_CONFIG": str(tmp_path / "mine.toml")})
    assert (other.home, other.checkout) == (tmp_path, here.checkout)
    assert other.mark != here.mark


def test_downloads_are_shared_by_a_users_checkouts() -> None:
    assert parts_cache({"XDG_CACHE_HOME": "/c"}) == Path("/c/precis")
