"""Takes out of a model's answer, while it streams, what is not the answer: reasoning, template tokens, an
enclosing code fence, polite openings and endings, our own delimiter. Knows nothing of where the text comes
from or goes to."""

import re
from functools import cached_property

from listener.text.lexicon import patterns

_MOST_HELD_CHARACTERS = 4_000  # then it is published, whatever it may become: no ending is as long
_MOST_PARTIAL_CHARACTERS = 80  # of a mark that is not whole yet
_HEAD_CHARACTERS = 200  # held back before anything is published: an opening shows itself within it
_LINE_CHARACTERS = 40  # a last line shorter than this may still become an ending
_LOOK_BACK_LINES = 4
_THOUGHT = r"(?:think|thinking|thought|reasoning|reflection)"
# No mark is longer than can be held back: each is tried at its first character, and ends soon. (`re`: RE2
# encodes the whole text anew each time that it is told where to begin.)
_GAP = r"\s{0,4}"
_OPENING = rf"<{_GAP}{_THOUGHT}{_GAP}>|<\|channel\|>{_GAP}(?:analysis|commentary)"
_CLOSING = rf"<{_GAP}/{_GAP}{_THOUGHT}{_GAP}>"
_CHANNEL = rf"<\|(?:channel|start)\|>{_GAP}[a-z]{{0,40}}"
_TEMPLATE_MARK = (
    rf"{_CHANNEL}|<\|[a-zA-Z_]{{2,30}}\|>|<unused\d{{1,9}}>|</?s>|<(?:bos|eos|pad|unk)>"
    r"|<(?:start|end)_of_turn>(?:model|user)?|\[/?INST\]|<</?SYS>>"
)
# Any tag: a mark only if it is our delimiter's. A pattern for each delimiter would have to be compiled
# for each answer, which takes longer than to clean it.
_TAG = rf"</?{_GAP}(?P<tag>[\w-]{{1,64}}){_GAP}/?>"
_MARK = re.compile(
    f"(?P<open>{_OPENING})|(?P<close>{_CLOSING})|(?P<token>{_TEMPLATE_MARK})|{_TAG}", re.IGNORECASE
)
_THOUGHT_END = re.compile(rf"{_CLOSING}|<\|(?:end|start)\|>|<\|channel\|>", re.IGNORECASE)
_PARTIAL_MARK = re.compile(rf"<[^>\n]{{0,64}}$|\[/?I?N?S?T?$|{_CHANNEL}$", re.IGNORECASE)
_FENCE = re.compile(r"\s*(`{3,})(?:markdown|md|text|txt|plaintext|plain)?[ \t]*\n", re.IGNORECASE)
_FENCE_LINE = re.compile(r"`{3,}\s*")
_EMPHASIS = "*#_ \t"


class Cleaner:
    """One answer: feed it chunk by chunk, publish what comes out, store `text` after `finish()`.

    What stands in the `source` in the same words is no courtesy of the model and stays."""

    def __init__(self, *, delimiter: str = "", source: str = "") -> None:
        self._marks = _MarkFilter(delimiter)
        self._raw_source = source
        self._published: list[str] = []
        self._held = ""  # what follows the published text, without marks
        self._fence: str | None = (
            None  # the fence around the answer, empty without; None until its head is known
        )
        self._replaced = False

    def feed(self, chunk: str) -> str:
        """What may be published now; empty while held back."""
        self._take(self._marks.feed(chunk))
        if self._fence is None:
            self._held = self._held.lstrip()
            if len(self._held) < _HEAD_CHARACTERS:
                return ""
            self._drop_head()
        if len(self._held) > _MOST_HELD_CHARACTERS:
            return self._publish(self._held[: _safe_end(self._held)] or self._held)
        return self._publish(self._held[: _safe_end(self._held)].rstrip())

    def finish(self) -> str:
        """The rest that may be published, with the endings taken off."""
        self._take(self._marks.finish())
        if self._fence is None:
            self._drop_head()
        published, whole = "".join(self._published), self._whole()
        continues = whole.startswith(published)
        # A published ending that went again is no new beginning: a reader has only a little too much.
        self._replaced = self._replaced or not (continues or published.startswith(whole))
        self._published, self._held, self._fence = [whole], "", ""
        return whole[len(published) :] if continues else ""

    @property
    def text(self) -> str:
        """The clean answer so far."""
        return self._whole() if self._fence is not None else ""

    @property
    def replaced(self) -> bool:
        """Whether `text` no longer begins with what was published, so that a reader has to start over."""
        return self._replaced

    @cached_property
    def _source(self) -> str:
        return _plain(self._raw_source)

    def _take(self, text: str) -> None:
        if self._marks.restarted:
            self._marks.restarted = False
            self._replaced = self._replaced or bool(self._published)
            self._published, self._held, self._fence = [], "", None
        self._held += text

    def _drop_head(self) -> None:
        begins, self._fence = _find_head(self._held, self._source)
        self._held = self._held[begins:]

    def _publish(self, text: str) -> str:
        if text:
            self._published.append(text)
            self._held = self._held[len(text) :]
        return text

    def _whole(self) -> str:
        """All of the answer, without the closing fence and the courtesies at its end."""
        body = _unfenced("".join(self._published) + self._held, self._fence or "").rstrip()
        for _ in range(_LOOK_BACK_LINES):
            last = body[body.rfind("\n") + 1 :]
            if last == body or not self._is_ending(last):
                break
            body = body[: -len(last)].rstrip()
        return body

    def _is_ending(self, line: str) -> bool:
        courtesy = patterns("closings").match(line.strip(_EMPHASIS + "-"))
        return bool(courtesy) and not (self._source and _plain(line) in self._source)


class _MarkFilter:
    """Removes reasoning, template tokens and the delimiter from a stream, and holds back what may become
    one."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter.lower()
        self._buffer = ""
        self._thinking = False
        self.restarted = False  # a lone closing mark: all that came before was reasoning

    def feed(self, chunk: str) -> str:
        text = self._buffer + chunk
        out, position = list[str](), 0
        while found := self._find(text, position):
            if found.end() == len(text) and _may_grow(found[0]):
                break
            position = self._pass(found, position, out)
        return "".join([*out, self._release(text, position)])

    def finish(self) -> str:
        rest = (
            ""
            if self._thinking
            else _MARK.sub(lambda mark: "" if self._is_mark(mark) else mark[0], self._buffer)
        )
        self._buffer = ""
        return rest

    def _find(self, text: str, position: int) -> re.Match[str] | None:
        if self._thinking:
            return _THOUGHT_END.search(text, position)
        return next(filter(self._is_mark, _MARK.finditer(text, position)), None)

    def _is_mark(self, found: re.Match[str]) -> bool:
        return found["tag"] is None or found["tag"].lower() == self._delimiter

    def _pass(self, found: re.Match[str], position: int, out: list[str]) -> int:
        """Where to go on after a mark; what stood before it is put out."""
        if not self._thinking and not found["close"]:
            out.append(found.string[position : found.start()])
        elif not self._thinking:
            self.restarted = True
            out.clear()
        ended_by_token = self._thinking and found[0].startswith("<|")
        self._thinking = not self._thinking and bool(found["open"])
        return found.start() if ended_by_token and "channel" in found[0] else found.end()

    def _release(self, text: str, position: int) -> str:
        """The rest but for what may become a mark, which is kept."""
        partial = _PARTIAL_MARK.search(text, max(position, len(text) - _MOST_PARTIAL_CHARACTERS))
        end = partial.start() if partial else len(text)
        self._buffer = text[end:]
        return "" if self._thinking else text[position:end]


def clean(text: str, *, delimiter: str = "", source: str = "") -> str:
    """A whole answer, cleaned."""
    cleaner = Cleaner(delimiter=delimiter, source=source)
    cleaner.feed(text)
    cleaner.finish()
    return cleaner.text


def _unfenced(body: str, fence: str) -> str:
    """The body without its closing fence; with both fences if text follows, which makes them its own."""
    inside, closing, after = body.rpartition("\n" + fence)
    if not fence or not closing:
        return body
    return inside if not after.strip(" `\n") else f"{fence}\n{body}"


def _may_grow(mark: str) -> bool:
    """Whether letters still to come belong to this mark: a channel's name."""
    return mark.lower().startswith(("<|channel|>", "<|start|>"))


def _find_head(answer: str, source: str) -> tuple[int, str]:
    """Where the text begins after fence and courtesies, and the fence."""
    begins, fence = 0, ""
    for _ in range(3):
        if opening := _FENCE.match(answer, begins):
            begins, fence = opening.end(), fence or opening[1]
        courtesy = _courtesy_end(answer, begins, source)
        if courtesy == begins:
            break
        begins = courtesy
    return begins + len(answer[begins:]) - len(answer[begins:].lstrip()), fence


def _courtesy_end(answer: str, begins: int, source: str) -> int:
    """Where an opening such as "Sure! Here is the summary:" ends; `begins` if there is none."""
    start = begins
    while start < len(answer) and answer[start] in _EMPHASIS + "\n":
        start += 1
    line_end = answer.find("\n", start)
    line = answer[start : line_end if line_end >= 0 else len(answer)]
    if _plain(line) in source and source:
        return begins
    if answer[begins:start].strip() and patterns("preambles").fullmatch(line.strip(_EMPHASIS + ":") + ":"):
        return start + len(line)
    found = patterns("preambles").match(line)
    return start + found.end() + len(_trailing_emphasis(line[found.end() :])) if found else begins


def _trailing_emphasis(text: str) -> str:
    return text[: len(text) - len(text.lstrip("*_"))]


def _safe_end(body: str) -> int:
    """Up to where the body can be published: before the last lines that are, or may become, an ending."""
    end = len(body)
    incomplete = True
    for _ in range(_LOOK_BACK_LINES):
        start = body.rfind("\n", 0, end) + 1
        line = body[start:end].strip()
        suspicious = (incomplete and len(line) < _LINE_CHARACTERS) or _looks_like_ending(line)
        if start == 0 or not suspicious:
            break
        end, incomplete = start - 1, False
    return end


def _looks_like_ending(line: str) -> bool:
    line = line.strip(_EMPHASIS + "-")
    return not line or bool(patterns("closings").match(line)) or bool(_FENCE_LINE.fullmatch(line))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).strip(_EMPHASIS)
