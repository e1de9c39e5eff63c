"""The small set of texts, written for these tests, that the engine is looked at with."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sample:
    """A text and what an extract of about `words` words must hold: `hits` of `facts`, each in any
    spelling."""

    name: str
    text: str
    language: str
    words: int
    hits: int
    facts: tuple[tuple[str, ...], ...]

    def __str__(self) -> str:
        return self.name


def _sample(name: str, entry: dict[str, object]) -> Sample:
    (file,) = _FOLDER.glob(f"{name}.*")
    facts = tuple(tuple(spellings) for spellings in entry.pop("facts"))  # type: ignore[attr-defined]
    return Sample(name, file.read_text(encoding="utf-8"), facts=facts, **entry)  # type: ignore[arg-type]


CORPUS = [
    _sample(name, entry)
    for name, entry in tomllib.loads((_FOLDER / "expectations.toml").read_text(encoding="utf-8")).items()
]
