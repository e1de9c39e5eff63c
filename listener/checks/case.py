"""What a check is given, and what it answers with."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from listener.text.reading import Reading

Check = dict[str, Any]

LOOKED_UP = 200  # findings that are looked for in the whole text; each reads it once
LISTED = 20  # findings that are named at most
_LISTED_LETTERS = 500


@dataclass(frozen=True, slots=True)
class Case:
    """An answer, its source, and what was asked for."""

    source: Reading
    output: Reading
    task: str
    target_words: int | None
    target_ratio: float | None
    expected: str | None  # language of the answer
    spoken: str | None  # language of the source
    delimiter: str

    @property
    def translated(self) -> bool:
        return bool(self.expected and self.spoken and self.expected != self.spoken)


def result(score: float | None, ok: bool | None, **facts: Any) -> Check:
    """`ok` is None where the check does not apply, `score` where nothing can be counted."""
    return {"score": None if score is None else round(max(0.0, min(1.0, score)), 3), "ok": ok, **facts}


def share(found: Sequence[Any], bad: Sequence[Any]) -> float | None:
    """What is not bad of what was found; None of nothing."""
    return 1 - len(bad) / len(found) if found else None


def some(found: Iterable[str]) -> list[str]:
    """A few of the findings, and of a long one its beginning."""
    return [one[:_LISTED_LETTERS] for one in list(dict.fromkeys(found))[:LISTED]]
