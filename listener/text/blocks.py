"""Cuts a text into its structure: headings, paragraphs, list items, quotes, tables, code. Loses nothing
but blanks."""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from listener.text.words import count_words

Kind = Literal["heading", "paragraph", "item", "quote", "code", "table", "rule"]

_PLAIN_HEADING_WORDS = 14
_PLAIN_HEADING_LETTERS = 90
# All of these are tried once at a line's beginning, or for one character: none walks over what another has
# walked over.
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:\s+\S|$)")
_SETEXT = re.compile(r" {0,3}(=+|-{2,})\s*$")
_RULE = re.compile(r" {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,}|={3,})$")
_ITEM = re.compile(r"\s*(?:[-*+\u2022\u2023\u25aa\u25cf\u2013]|\(?\d{1,3}[.)]|[a-zA-Z]\))\s+\S")
_INDENTED = re.compile(r"(?:\t| {4})")
_CODE_MARK = re.compile(r"[{};=<>$\\]|\(\)|^\s*(?:def|class|import|return|if|for|while|\$|#|//)\b")
_HEADING_START = re.compile(r" {0,3}#{1,6}\s*")
_QUOTE_MARK = re.compile(r"\s*>+ ?")
_ITEM_MARK = re.compile(
    r"\s*(?:[-*+\u2022\u2023\u25aa\u25cf\u2013]|\(?\d{1,3}[.)]|[a-zA-Z]\))\s+(?:\[[ xX]\] )?"
)
_SENTENCE_END = re.compile(
    r"[.!?:;,\u2026\u3002\uff01\uff1f\uff1a\uff0c\u060c\u061b\u061f\u06d4\u0964\u0965]['\"\u201d\u2019\u00bb)\]]*$"
)


@dataclass(frozen=True, slots=True)
class Block:
    """One piece: `text` is `source[start:end]`; `level` is that of a heading, from 1, and 0 for all else."""

    kind: Kind
    text: str
    start: int
    end: int
    level: int = 0


@dataclass(frozen=True, slots=True)
class _Line:
    text: str
    start: int
    kind: Kind
    level: int = 0
    opens: bool = True  # begins a block of its own, rather than going on with the one before


def split_blocks(text: str) -> list[Block]:
    """The blocks in order; between them the text holds only blanks."""
    blocks: list[Block] = []
    for lines in _groups(_classify(text)):
        first, last = lines[0], lines[-1]
        start = (
            first.start + len(first.text) - len(first.text.lstrip()) if first.kind != "code" else first.start
        )
        end = last.start + len(last.text.rstrip())
        blocks.append(Block(first.kind, text[start:end], start, end, first.level))
    return _promote_headings(blocks)


def plain_text(block: Block) -> str:
    """The words of a block on one line, without the marks of a heading, an item or a quotation."""
    text = _heading_text(block.text) if block.kind == "heading" else _unmarked(block.text)
    return " ".join(text.split())


def _heading_text(text: str) -> str:
    line, underline, _ = text.partition("\n")
    opening = _HEADING_START.match(line)
    line = line[opening.end() :] if opening else line
    bare = line.rstrip().rstrip("#")
    if not underline and bare[-1:].isspace():  # "# Title #"; "# C#" keeps its mark
        line = bare
    return line.replace("**", "").replace("__", "")


def _unmarked(text: str) -> str:
    """Each line without its quotation marks; the first without the mark of an item."""
    lines = text.split("\n")
    for index, line in enumerate(lines):
        mark = _QUOTE_MARK.match(line) or (None if index else _ITEM_MARK.match(line))
        lines[index] = line[mark.end() :] if mark else line
    return "\n".join(lines)


def _classify(text: str) -> list[_Line | None]:
    """Each line with its kind; None for a blank one (outside code)."""
    raw = _lines(text)
    closing = _closing_fences([line for _, line in raw])
    found: list[_Line | None] = []
    index = 0
    while index < len(raw):
        start, line = raw[index]
        if last := closing.get(index):
            found += [_Line(code, at, "code", opens=at == start) for at, code in raw[index : last + 1]]
            index = last
        elif not line.strip():
            found.append(None)
        else:
            found.append(_classify_line(line, start, found[-1] if found else None))
        index += 1
    return found


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines with where they begin."""
    found, start = [], 0
    for line in text.split("\n"):
        found.append((start, line))
        start += len(line) + 1
    return found


def _closing_fences(lines: Sequence[str]) -> dict[int, int]:
    """For each line that may open fenced code, the next one that would close it: of the same mark, as long at
    least, and nothing else.

    From the end on, with what closes of each mark: the nearest last, each longer than all that are nearer."""
    found: dict[int, int] = {}
    closers: dict[str, tuple[list[int], list[int]]] = {"`": ([], []), "~": ([], [])}
    for index in range(len(lines) - 1, -1, -1):
        fence = _FENCE.match(lines[index])
        if not fence:
            continue
        lengths, places = closers[fence[1][0]]  # lengths as negative numbers, so that they ascend
        reach = bisect_left(lengths, 1 - len(fence[1]))
        if reach:
            found[index] = places[reach - 1]
        if not lines[index].strip(" `~"):
            while lengths and -lengths[-1] <= len(fence[1]):
                lengths.pop()
                places.pop()
            lengths.append(-len(fence[1]))
            places.append(index)
    return found


def _classify_line(line: str, start: int, before: _Line | None) -> _Line:
    if atx := _ATX.match(line):
        return _Line(line, start, "heading", len(atx[1]))
    if before and before.kind == "paragraph" and before.opens and (setext := _SETEXT.match(line)):
        return _Line(line, start, "heading", 1 if setext[1][0] == "=" else 2, opens=False)
    if _RULE.match(line):
        return _Line(line, start, "rule")
    return _classify_text(line, start, before)


def _classify_text(line: str, start: int, before: _Line | None) -> _Line:
    if line.lstrip().startswith(">"):
        return _Line(line, start, "quote", opens=not (before and before.kind == "quote"))
    if line.lstrip().startswith("|") or line.count(" | ") >= 2 or line.count("\t") >= 2:
        return _Line(line, start, "table", opens=not (before and before.kind == "table"))
    if _ITEM.match(line):
        return _Line(line, start, "item")
    if before and before.kind in ("item", "quote", "paragraph"):
        return _Line(line, start, before.kind, opens=False)
    if _INDENTED.match(line) and (before is None or before.kind == "code") and _CODE_MARK.search(line):
        return _Line(line, start, "code", opens=before is None)
    return _Line(line, start, "paragraph")


def _groups(lines: list[_Line | None]) -> Iterator[list[_Line]]:
    group: list[_Line] = []
    for line in [*lines, None]:
        if group and (line is None or line.opens):
            yield group
            group = []
        if line is None:
            continue
        if (
            line.kind == "heading" and not line.opens
        ):  # the underline of a setext heading names what it underlines
            group = [_Line(one.text, one.start, "heading", line.level, one.opens) for one in group]
        group.append(line)


def _promote_headings(blocks: list[Block]) -> list[Block]:
    """Lone short lines without an end mark, before something longer, are headings that carry no marks."""
    found = []
    for index, block in enumerate(blocks):
        follower = blocks[index + 1] if index + 1 < len(blocks) else None
        heading = follower is not None and _looks_like_heading(block, follower)
        found.append(replace(block, kind="heading", level=1 if index == 0 else 2) if heading else block)
    return found


def _looks_like_heading(block: Block, follower: Block) -> bool:
    text = block.text
    if block.kind != "paragraph" or follower.kind not in ("paragraph", "item", "quote") or "\n" in text:
        return False
    if len(text) > _PLAIN_HEADING_LETTERS or _SENTENCE_END.search(text) or not any(map(str.isalpha, text)):
        return False
    short = count_words(text) <= _PLAIN_HEADING_WORDS or len(text) <= 30
    longer = follower.kind != "paragraph" or len(follower.text) > len(text)
    return short and longer and not text[0].islower()
