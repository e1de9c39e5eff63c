"""A text read once for all that is checked on it: words, sentences, claims, each found when it is first asked
for. Knows no check."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from functools import cached_property

from listener.text import facts
from listener.text.blocks import Block, split_blocks
from listener.text.lexicon import lexicon, lower_pattern
from listener.text.sentences import sentences_of
from listener.text.vectors import terms, terms_of
from listener.text.words import count_words, is_ideograph, words

Run = tuple[str, str, str, str]

_ENDING_LETTERS = 3  # of a long word, by which its case endings may differ
_STEM_LETTERS = 4
_SHORTEST_STEM = 3


class Reading:
    """A text in a language (None: not known). Each property takes time and memory in proportion to the
    text."""

    def __init__(self, text: str, language: str | None) -> None:
        self.text = text
        self.language = language

    @cached_property
    def count(self) -> int:
        """How many words a reader counts."""
        return count_words(self.text)

    @cached_property
    def words(self) -> list[str]:
        return words(self.text)

    @cached_property
    def folded(self) -> list[str]:
        """The words without their case."""
        return list(map(str.casefold, self.words))

    @cached_property
    def bare(self) -> str:
        """The folded words with a blank between them: what a quotation is looked for in."""
        return " ".join(self.folded)

    @cached_property
    def runs(self) -> set[Run]:
        """All runs of four folded words."""
        return set(self._runs())

    def runs_among(self, others: set[Run]) -> int:
        """How many of the others' runs stand here too."""
        return len({run for run in self._runs() if run in others})

    def _runs(self) -> "zip[Run]":
        found = self.folded
        return zip(found, found[1:], found[2:], found[3:], strict=False)

    @cached_property
    def blocks(self) -> list[Block]:
        return split_blocks(self.text)

    @cached_property
    def _sentences_by_block(self) -> list[list[str]]:
        return [sentences_of(block, self.language or "en") for block in self.blocks]

    @cached_property
    def sentences(self) -> list[str]:
        return [sentence for block in self._sentences_by_block for sentence in block]

    @cached_property
    def sentence_terms(self) -> list[list[str]]:
        """The terms of each sentence."""
        return list(map(terms, self.sentences))

    @cached_property
    def terms(self) -> set[str]:
        """All terms of the text."""
        if any(map(is_ideograph, set(self.words))):  # they are compared by neighbouring pairs
            return set(terms_of(self.words))
        return set(terms_of(list(set(self.words))))

    @cached_property
    def numbers(self) -> list[facts.Number]:
        return facts.numbers(self.text, self.language)

    @cached_property
    def values(self) -> set[float]:
        """All that the numbers can mean."""
        return {value for number in self.numbers for value in number.values}

    @cached_property
    def addresses(self) -> list[str]:
        return facts.addresses(self.text)

    @cached_property
    def names(self) -> list[str]:
        """Addresses, and names within the sentences; each once."""
        if self.addresses:
            return facts.names(self.text, self.language)
        return list(dict.fromkeys(name for one in self.sentences for name in facts.names_of(one)))

    @cached_property
    def quotations(self) -> list[str]:
        return facts.quotations(self.text)

    @cached_property
    def said(self) -> Counter[tuple[str, ...]]:
        """How often each sentence is said, by its terms."""
        return Counter(map(tuple, self.sentence_terms))

    def hedges(self, language: str | None) -> int:
        """How often something is denied, or said to be possible only."""
        found = lexicon(language)
        return sum(1 for _ in lower_pattern(found.negations + found.modals).finditer(self.text.lower()))

    def knows(self, name: str) -> bool:
        """Whether the text has the name, allowing for another case ending of a long word; of an address, for
        more before or after it."""
        if "://" in name or "@" in name:
            return _begins_with(self._addresses, name.rstrip(".,;")) or _begins_with(
                self._addresses_backwards, name.rstrip(".,;")[::-1]
            )
        parts = [facts.fold(part) for part in words(name) if len(part) > 2]
        return all(self._knows_part(part) for part in parts)

    def _knows_part(self, part: str) -> bool:
        stem = part[: max(_STEM_LETTERS, len(part) - _ENDING_LETTERS)]
        if len(stem) < _SHORTEST_STEM:
            return part in self._whole_folds
        return _begins_with(self._folds, stem)

    @cached_property
    def _folds(self) -> list[str]:
        """The words as names are compared, in order: each prefix of one is found beside it. (A set of all
        prefixes grows with the square of the longest word.)"""
        return sorted({facts.fold(word) for word in set(self.words) if len(word) > 2})

    @cached_property
    def _whole_folds(self) -> set[str]:
        return set(self._folds)

    @cached_property
    def _addresses(self) -> list[str]:
        return sorted(self.addresses)

    @cached_property
    def _addresses_backwards(self) -> list[str]:
        return sorted(address[::-1] for address in self.addresses)


def _begins_with(ordered: Sequence[str], prefix: str) -> bool:
    """Whether one of these begins with the prefix."""
    place = bisect_left(ordered, prefix)
    return place < len(ordered) and ordered[place].startswith(prefix)
