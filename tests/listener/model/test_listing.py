"""What servers list, read with distrust: no nonsense gets through, and none of it raises but in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from listener.model.listing import (
    MOST_CONTEXT_TOKENS,
    MOST_MODELS,
    Listed,
    ListingError,
    read_listed,
    read_tags,
    read_version,
)


def shown(**more: Any) -> dict[str, Any]:
    info = {"general.architecture": "llama", "llama.context_length": 131072}
    return {"capabilities": ["completion"], "details": {"family": "llama"}, "model_info": info} | more


def test_a_language_model_is_asked_for_no_more_context_than_configured_or_trained() -> None:
    assert read_listed("sha", shown(), context_tokens=8192) == Listed("sha", "llama", 8192, ("completion",))
    small = shown(model_info={"general.architecture": "llama", "llama.context_length": 2048})
    assert read_listed("sha", small, context_tokens=8192) == Listed("sha", "llama", 2048, ("completion",))


def test_a_model_that_cannot_write_or_runs_elsewhere_is_not_used() -> None:
    assert read_listed("sha", shown(capabilities=["embedding"]), context_tokens=8192) is None
    assert read_listed("sha", shown(remote_host="https://elsewhere"), context_tokens=8192) is None


def test_an_old_server_that_tells_nothing_of_abilities_is_believed() -> None:
    listed = read_listed("sha", {"details": None, "model_info": None}, context_tokens=8192)
    assert listed == Listed("sha", "", 8192, ())


def tag(name: Any = "one:latest", **more: Any) -> dict[str, Any]:
    return {"name": name, "digest": "sha"} | more


@pytest.mark.parametrize("models", ["llama", {"name": "llama"}, 7, True, 1.5, "missing"])
def test_a_list_of_models_that_is_none_says_so(models: Any) -> None:
    answer = {} if models == "missing" else {"models": models}
    with pytest.raises(ListingError, match="does not speak Ollama's interface"):
        read_tags(answer)


def test_a_server_without_models_lists_nothing() -> None:
    assert read_tags({"models": None}).digests == {}


ODD_NAMES = ["", "a\0b", "\ud800", "a\nb", "x" * 20_000, 7, ["a"], {"a": 1}, None, True, "\x1b[31m"]


@pytest.mark.parametrize("name", ODD_NAMES, ids=lambda name: ascii(name)[:12])
def test_a_name_that_cannot_be_stored_or_shown_is_left_out_and_said(name: Any) -> None:
    tags = read_tags({"models": [tag(name), tag("good")]})
    assert list(tags.digests) == ["good"]
    (fault,) = tags.faults
    assert fault.isascii()
    assert len(fault) < 400


@pytest.mark.parametrize("entry", [None, 1, "one", ["one"], 1.5, tag(digest=7), tag(digest="a\0")])
def test_an_entry_that_is_no_record_is_left_out(entry: Any) -> None:
    tags = read_tags({"models": [entry, tag("good")]})
    assert list(tags.digests) == ["good"]
    assert len(tags.faults) == 1


def test_a_name_twice_is_one_model() -> None:
    tags = read_tags({"models": [tag(digest="first"), tag(digest="second")]})
    assert tags.digests == {"one:latest": "first"}
    assert tags.faults == ("it lists 'one:latest' twice",)


def test_a_hundred_thousand_models_are_too_many() -> None:
    tags = read_tags({"models": [tag(f"m{n}") for n in range(100_000)]})
    assert len(tags.digests) == MOST_MODELS
    assert "more than" in tags.faults[-1]


def test_a_model_that_runs_elsewhere_is_passed_over() -> None:
    assert read_tags({"models": [tag(remote_host="https://elsewhere")]}).digests == {}


@pytest.mark.parametrize(
    "odd",
    [
        {"capabilities": "completion"},
        {"capabilities": [1]},
        {"capabilities": ["completion", "a,b"]},
        {"capabilities": ["completion", "a\0"]},
        {"capabilities": ["completion"] * 1000},
        {"model_info": ["llama"]},
        {"details": "llama"},
    ],
    ids=str,
)
def test_a_model_that_tells_nonsense_of_itself_is_not_used(odd: dict[str, Any]) -> None:
    with pytest.raises(ListingError):
        read_listed("sha", shown(**odd), context_tokens=8192)


@pytest.mark.parametrize("length", [-1, 0, True, 1.5, float("nan"), float("inf"), "8192", None, [8192]])
def test_a_context_length_that_is_none_counts_as_not_told(length: Any) -> None:
    info = {"general.architecture": "llama", "llama.context_length": length}
    listed = read_listed("sha", shown(model_info=info), context_tokens=4096)
    assert listed is not None
    assert listed.context_tokens == 4096


def test_a_context_length_beyond_all_measure_can_still_be_stored() -> None:
    info = {"general.architecture": "extractive", "extractive.context_length": 10**30}
    listed = read_listed("sha", shown(model_info=info, details=None), context_tokens=4096)
    assert listed is not None
    assert listed.context_tokens == MOST_CONTEXT_TOKENS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = (
    "models",
    "name",
    "model",
    "digest",
    "remote_host",
    "capabilities",
    "model_info",
    "details",
    "family",
)
KEYS = st.sampled_from((*FIELDS, "general.architecture", "llama.context_length", "version"))
RECORDS = st.dictionaries(KEYS, JSON | st.dictionaries(KEYS, JSON, max_size=4), max_size=6)


def storable(text: str) -> bool:
    return "\0" not in text and text.encode("utf-8", "replace").decode() == text and len(text) <= 200


@given(st.fixed_dictionaries({"models": st.lists(RECORDS | JSON, max_size=5)}) | RECORDS)
def test_whatever_is_listed_what_is_taken_of_it_can_be_stored(answer: dict[str, Any]) -> None:
    try:
        tags = read_tags(answer)
    except ListingError:
        return
    assert all(name and storable(name) and storable(digest) for name, digest in tags.digests.items())


@given(RECORDS)
def test_whatever_a_model_tells_what_is_taken_of_it_can_be_stored(record: dict[str, Any]) -> None:
    try:
        listed = read_listed("sha", record, context_tokens=8192)
    except ListingError:
        return
    if listed is not None:
        assert 0 < listed.context_tokens <= MOST_CONTEXT_TOKENS
        assert storable(listed.family)
        assert all(capability.isascii() and "," not in capability for capability in listed.capabilities)


@given(RECORDS)
def test_whatever_a_version_is_it_can_be_stored(record: dict[str, Any]) -> None:
    assert storable(read_version(record))
