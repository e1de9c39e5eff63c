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
# These stay with `re`: each is a run of characters of one class, which never fails once it has begun. RE2's
# matches cost ten times as much each, and a text is full of words. Possessive, so that no way back is kept.
_RUN = re.compile(rf"[{_IDEOGRAPHS}]|[{_UNSPACED}]++|[^\s{_IDEOGRAPHS}{_UNSPACED}\u2013\u2014\u2026]++")
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[{_UNSPACED}]++|{_LETTER}++(?:[{_MARKS}]++{_LETTER}*+)*+")
_DENSE = re.compile(f"[{_IDEOGRAPHS}{_UNSPACED}\u2013\u2014\u2026]")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_IS_UNSPACED = re.compile(f"[{_UNSPACED}]")


def count_words(text: str) -> int:
    """How many words a reader counts: runs between blanks that hold a letter or digit, ideographs one by
    one."""
    return sum(map(_count_run, _RUN.findall(text)))


def has_more_words(text: str, limit: int) -> bool:
    """Whether a reader counts more words than `limit`; reads no further than it must."""
    if len(text) <= limit:
        return False
    # Without these, what stands between blanks is one word at most.
    if _DENSE.search(text) is None and len(text.split(None, limit + 1)) <= limit:
        return False
    counted = 0
    for run in _RUN.finditer(text):
        counted += _count_run(run[0])
        if counted > limit:
            return True
    return False


def words(text: str) -> list[str]:
    """The words without punctuation, in order; ideographs one by one."""
    return _WORD.findall(text)


def is_ideograph(letter: str) -> bool:
    """Whether the first character is Chinese or Japanese, whose words touch each other."""
    return _IDEOGRAPH.match(letter) is not None


def _count_run(run: str) -> int:
    if run.isalnum():
        if run.isascii() or not _IS_UNSPACED.match(run):
            return 1
    elif not _IS_UNSPACED.match(run):
        return 1 if any(map(str.isalnum, run)) else 0
    return max(1, round(len(run) / _UNSPACED_LETTERS_PER_WORD))
