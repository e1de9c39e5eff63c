"""Counts and lists words in any script. Chinese and Japanese are counted by character, as their readers
do."""

import re

_KANA = "\u3041-\u3096\u30a1-\u30fa\u30fc-\u30ff"
_HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_IDEOGRAPHS = _KANA + _HAN
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer: no blanks between words
_UNSPACED_LETTERS_PER_WORD = 4.5
# Vowel signs and accents are no letters to Python's \w, but parts of a word.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff\u200c\u200d"
_LETTER = rf"[^\W_{_IDEOGRAPHS}{_UNSPACED}]"
_RUN = re.compile(rf"[{_IDEOGRAPHS}]|[{_UNSPACED}]+|[^\s{_IDEOGRAPHS}{_UNSPACED}\u2013\u2014\u2026]+")
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[{_UNSPACED}]+|{_LETTER}(?:{_LETTER}|[{_MARKS}])*")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")


def count_words(text: str) -> int:
    """How many words a reader counts: runs between blanks that hold a letter or digit, ideographs one by
    one."""
    return sum(map(_count_run, _RUN.findall(text)))


def words(text: str) -> list[str]:
    """The words without punctuation, in order; ideographs one by one."""
    return _WORD.findall(text)


def is_ideograph(letter: str) -> bool:
    """Whether the first character is Chinese or Japanese, whose words touch each other."""
    return _IDEOGRAPH.match(letter) is not None


def _count_run(run: str) -> int:
    if _UNSPACED_RUN.match(run):
        return max(1, round(len(run) / _UNSPACED_LETTERS_PER_WORD))
    return 1 if run.isalnum() or any(map(str.isalnum, run)) else 0
