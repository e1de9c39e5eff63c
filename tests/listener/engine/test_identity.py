"""What the engine says of itself, and when it seems loaded."""

from listener.engine import identity


def test_the_model_is_called_by_either_name() -> None:
    assert identity.is_known("extractive")
    assert identity.is_known("extractive:latest")
    assert not identity.is_known("extractive:7b")


def test_it_offers_completion_only_and_a_large_context() -> None:
    shown = identity.show()
    assert shown["capabilities"] == ["completion"]
    assert shown["model_info"]["extractive.context_length"] >= 1_000_000


def test_its_digest_is_that_of_its_code() -> None:
    assert len(identity.digest()) == 64
    assert identity.tags()["models"][0]["digest"] == identity.digest()


def test_it_is_loaded_from_a_call_on_until_it_is_unloaded() -> None:
    loaded = identity.KeepAlive()
    assert loaded.running() == []
    loaded.renew(None)
    assert loaded.running()[0]["name"] == identity.NAME
    loaded.renew(0)
    assert loaded.running() == []


def test_below_zero_it_is_kept_for_ever() -> None:
    loaded = identity.KeepAlive()
    loaded.renew(-1)
    assert loaded.running()[0]["expires_at"].startswith("2318")
