"""The checks: an honest answer passes, and each kind of bad answer fails its own check."""

import json
from typing import Any

import pytest

from listener.checks import report as checks
from listener.text.extraction import extract, running_text
from listener.text.shortening import shorten
from tests.listener.text.corpus import CORPUS, Sample

(BRIDGE,) = (sample.text for sample in CORPUS if sample.name == "en_bridge")
GOOD = (
    "The Harlow Bridge will close to all traffic from 4 March for eleven months while its corroded cables "
    "are replaced, at a cost of 38 million pounds. Inspectors found that 14 of the 62 cables had lost more "
    "than a fifth of their strength. The bridge carries 24,000 vehicles a day, and drivers face a detour of "
    "19 miles."
)
NAMES = {
    "length", "language", "numbers", "names", "quotes", "novelty", "repetition", "negation", "coverage",
    "refusal",
}  # fmt: skip


def _run(output: str, **changes: Any) -> dict[str, Any]:
    return checks.run(
        **{"source": BRIDGE, "output": output, "task": "summarize", "target_words": 60, **changes}
    )


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_an_extract_passes_all_checks(sample: Sample) -> None:
    output = running_text(extract(sample.text, target_words=sample.words))
    report = checks.run(source=sample.text, output=output, task="summarize", target_words=sample.words)
    assert checks.failed(report) == []


@pytest.mark.parametrize("sample", CORPUS, ids=str)
def test_a_shortened_text_invents_nothing(sample: Sample) -> None:
    output = shorten(sample.text, ratio=0.7).text
    report = checks.run(source=sample.text, output=output, task="shorten", target_ratio=0.7)
    assert set(checks.failed(report)) <= {"negation", "length"}
    assert report["numbers"]["invented"] == report["names"]["invented"] == []


def test_a_good_paraphrase_passes_all_checks() -> None:
    assert checks.failed(_run(GOOD)) == []


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("length", GOOD.partition(".")[0] + "."),
        (
            "language",
            "Die Brücke von Harlow wird ab dem 4. März für elf Monate für Autos gesperrt, weil Kabel rosten.",
        ),
        ("numbers", GOOD.replace("38", "83")),
        ("names", GOOD.replace("Inspectors", "Mr Peter Zorn")),
        ("quotes", GOOD + ' "This bridge is a disgrace to us all," he said.'),
        (
            "novelty",
            "Astronomers photographed distant galaxies yesterday using telescopes. " * 2
            + "Comets glow brightly.",
        ),
        ("repetition", GOOD + " " + GOOD),
        ("refusal", "I'm sorry, but as an AI language model I cannot summarize this."),
        ("refusal", GOOD + "\n</doc-7f3a>"),
        ("refusal", ""),
    ],
)
def test_a_bad_answer_fails_its_check(name: str, output: str) -> None:
    assert name in checks.failed(_run(output, delimiter="doc-7f3a"))


def test_a_summary_of_the_beginning_alone_fails_coverage() -> None:
    source = "\n\n".join(f"# Part {n}\n\n{sample.text}" for n, sample in enumerate(CORPUS[:3]))
    beginning = running_text(extract(CORPUS[0].text, target_words=120))
    report = checks.run(source=source, output=beginning, task="summarize", target_words=120)
    assert report["coverage"]["ok"] is False
    assert report["coverage"]["missing"]


def test_shortening_that_loses_its_negations_is_seen() -> None:
    source = (
        "He did not sign. She could not come. They never paid. Nobody may enter without a key. It is cold."
    )
    output = "He signed. She came. They paid. All enter with a key. It is cold."
    report = checks.run(source=source, output=output, task="shorten", target_ratio=0.8)
    assert report["negation"]["ok"] is False


def test_shortening_names_what_it_lost() -> None:
    report = checks.run(source=BRIDGE, output=GOOD, task="shorten", target_ratio=0.2)
    assert "1931" in report["numbers"]["lost"]
    assert "Adeyemi" in report["names"]["lost"]


def test_a_refusal_that_the_source_itself_says_is_none() -> None:
    source = BRIDGE + " I'm sorry, said the mayor."
    assert checks.run(source=source, output=GOOD + " I'm sorry, said the mayor.", task="summarize")[
        "refusal"
    ]["ok"]


def test_a_translation_is_judged_by_its_own_language_only() -> None:
    german = (
        "Die Brücke von Harlow wird ab dem 4. März für elf Monate gesperrt. Das kostet 38 Millionen Pfund."
    )
    report = _run(german, language="de", target_words=18)
    assert report["language"]["ok"] is True
    assert report["novelty"]["ok"] is report["coverage"]["ok"] is report["quotes"]["ok"] is None


def test_a_source_below_the_target_may_come_back_as_it_is() -> None:
    assert _run(BRIDGE, target_words=1000)["length"]["ok"] is True


def test_a_report_is_json_and_always_has_every_check() -> None:
    report = checks.run(source="", output="", task="shorten")
    assert set(json.loads(json.dumps(report))) == NAMES
    assert all({"score", "ok"} <= set(check) for check in report.values())


def test_only_some_failures_are_worth_another_turn() -> None:
    report = {
        "length": {"ok": False},
        "novelty": {"ok": False},
        "numbers": {"ok": False},
        "names": {"ok": True},
    }
    assert checks.wants_retry(report, "summarize") == ["length"]
    assert checks.wants_retry(report, "shorten") == ["length", "numbers"]


def test_a_check_that_throws_is_unknown_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_case: object) -> dict[str, Any]:
        raise OverflowError("a word of the text")

    monkeypatch.setitem(checks.CHECKS, "numbers", broken)
    report = _run(GOOD)
    assert report["numbers"].keys() == {"score", "ok", "unknown"}
    assert report["numbers"]["unknown"].startswith("not checked: OverflowError in test_report.py, line ")
    assert (checks.failed(report), list(checks.unknown(report))) == ([], ["numbers"])
    assert report["names"]["ok"] is True


def test_what_is_too_costly_is_unknown_and_no_reason_for_another_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "_SECONDS", -1e6)
    report = _run("I'm sorry, but as an AI language model I cannot summarize this.")
    assert report == checks.not_checked()
    assert checks.unknown(report) == dict.fromkeys(NAMES, "not checked: too costly")
    assert checks.failed(report) == checks.wants_retry(report, "summarize") == []


def test_a_check_without_memory_is_too_costly(monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(_case: object) -> dict[str, Any]:
        raise MemoryError

    monkeypatch.setitem(checks.CHECKS, "novelty", hungry)
    assert checks.unknown(_run(GOOD)) == {"novelty": checks.TOO_COSTLY}


def test_a_report_stays_small_whatever_was_found() -> None:
    output = "A B" + "C" * 100_000 + " 1" + "2" * 100_000 + ' "' + "words and more " * 10_000 + '"'
    report = _run(output, task="shorten", target_ratio=0.5)
    assert report["names"]["invented"]
    assert len(json.dumps(report)) < 20_000


def test_of_very_many_quotations_the_first_are_judged_and_the_check_says_so() -> None:
    said = " ".join(f'"he told {n} of them all of it"' for n in range(1000))
    report = checks.run(source=said, output=said, task="shorten")
    assert (report["quotes"]["ok"], report["quotes"]["judged"], report["quotes"]["of"]) == (True, 200, 1000)


def test_an_address_is_known_by_its_beginning_or_its_end() -> None:
    source = BRIDGE + " See https://example.org/plan/b or write to dr.ruth@example.org."
    output = GOOD + " See https://example.org/plan or write to ruth@example.org."
    assert _run(output, source=source)["names"]["invented"] == []
    assert _run(output, source=BRIDGE)["names"]["invented"] == [
        "https://example.org/plan",
        "ruth@example.org",
    ]
