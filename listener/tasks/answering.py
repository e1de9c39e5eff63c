"""From a request to a checked result: ask, stream, clean, measure, at most one corrective turn, keep the
better answer.

What summarize and shorten have in common. Knows no word that is said to the model.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from listener.aside import aside
from listener.errors import TaskError, TransientError
from listener.model import Answer, Message
from listener.tasks import budget, prompts
from listener.tasks.budget import Target
from listener.tasks.card import Card, draw_delimiter, unescape
from listener.tasks.request import Emit, Model, Request, Result
from listener.text import checks
from listener.text.cleaner import Cleaner
from listener.text.repetition import looping
from listener.text.sentences import last_sentence_complete, trim_to_sentence
from listener.text.words import count_words

STREAMED = 0.9  # of the progress; the rest is for checks and the corrective turn
LOOP_CHARACTERS = 4_000
LOOK_EACH_CHARACTERS = 500
LONGER = 1.5  # an answer that was cut off may be so much longer the second time
LEAST_CORRECTED, MOST_CORRECTED = 0.5, 1.5
LARGEST_RATIO = 0.99

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer with what was measured on it. `faults` are the checks that one more turn may mend."""

    answer: Answer
    body: str
    checks: Mapping[str, Any]
    faults: Sequence[str]
    trimmed: bool

    @property
    def badness(self) -> tuple[int, float]:
        """Fewer faults first, then the better length."""
        return len(self.faults), -(self.checks["length"]["score"] or 0.0)


async def answer(request: Request, target: Target, *, model: Model, emit: Emit) -> Result:
    """One checked answer to a request whose text does fit the model. Raises TaskError."""
    work = Work(request, target, model)
    # Counting a megabyte takes a while, and the checks below always do: the loop has a lease to renew.
    messages, room = await aside(request.text, work.ask)
    emit("", 0.0)
    first = await work.draft(messages, room, emit)
    if not first.faults:
        return describe(work, first, [first])
    emit("", STREAMED)
    try:
        # Not streamed: a reader keeps the first answer before the eyes until the better of the two is there.
        second = await work.draft(
            work.ask_again(messages, first), round(room * LONGER) if first.answer.cut else room
        )
    except TaskError as error:
        log.warning("answer.not_corrected", error=error.code, faults=list(first.faults))
        return describe(work, first, [first])
    return describe(work, min(first, second, key=lambda draft: draft.badness), [first, second])


async def pass_through(request: Request) -> Result:
    """The text is as short as wanted already: itself, without a call."""
    report = await asyncio.to_thread(
        checks.run, source=request.text, output=request.text, task=request.task, language=request.language
    )
    return Result(request.text, report, {"engine": "passthrough", "calls": 0})


def describe(work: "Work", best: Draft, drafts: Sequence[Draft]) -> Result:
    """The result, and what made it."""
    answers = [draft.answer for draft in drafts]
    engine = {
        "engine": work.model.engine,
        "model": work.model.name,
        "prompt_version": prompts.VERSION,
        "calls": len(drafts),
        "corrected": best is not drafts[0],
        "cut": best.answer.cut,
        "trimmed": best.trimmed,
        "prompt_tokens": sum(answer.prompt_tokens for answer in answers),
        "output_tokens": sum(answer.output_tokens for answer in answers),
        "first_token_seconds": round(answers[0].first_token_seconds, 4),
        "seconds": round(sum(answer.seconds for answer in answers), 4),
    }
    return Result(best.body, best.checks, engine)


@dataclass(frozen=True, slots=True)
class Work:
    """What stays the same over the turns of one request."""

    request: Request
    target: Target
    model: Model
    delimiter: str = field(default_factory=draw_delimiter)

    def ask(self) -> tuple[list[Message], int]:
        """The messages of the first turn, and the tokens its answer may have. Raises PermanentError."""
        card = self._card(self.target.words)
        messages = prompts.ask(card, self.target, document=self.request.text, delimiter=self.delimiter)
        room = budget.answer_tokens(self.request, self.target, self.model)
        budget.check_fit("\n".join(message["content"] for message in messages), room, self.model)
        return messages, room

    def ask_again(self, messages: Sequence[Message], first: Draft) -> list[Message]:
        """The corrective turn. Its card asks for more, or less, than is wanted, by as much as the model
        missed it."""
        aim = self.target.words
        if "length" in first.faults:
            missed = self.target.words / max(1, first.checks["length"]["words"])
            aim = max(1, round(aim * min(max(missed, LEAST_CORRECTED), MOST_CORRECTED)))
        return prompts.ask_again(
            messages,
            self._card(aim),
            self.target,
            answer=first.body,
            checks=first.checks,
            faults=first.faults,
        )

    async def draft(self, messages: Sequence[Message], room: int, emit: Emit | None = None) -> Draft:
        """One call, cleaned and measured."""
        source = self.request.text
        cleaner = Cleaner(delimiter=self.delimiter, source=source)
        ear = Ear(cleaner, emit, self._characters(), source)
        said = await self.model.chat(messages, answer_tokens=room, hear=ear.hear)
        text = ear.finish()
        return await asyncio.to_thread(self._measure, said, unescape(text))

    def _measure(self, said: Answer, text: str) -> Draft:
        trimmed = said.cut and not last_sentence_complete(text)
        body = (trim_to_sentence(text) or text) if trimmed else text
        report = checks.run(
            source=self.request.text,
            output=body,
            task=self.request.task,
            target_words=self._words_due(body),
            target_ratio=self.target.ratio,
            language=self.request.language,
            delimiter=self.delimiter,
        )
        return Draft(said, body, report, checks.wants_retry(report, self.request.task), trimmed)

    def _words_due(self, body: str) -> int | None:
        """What the length is measured against; a headline may be shorter than its limit."""
        short = self.request.style == "headline" and count_words(body) <= self.target.words
        return None if short or self.target.ratio is not None else self.target.words

    def _card(self, words: int) -> Card:
        ratio = None
        if self.target.ratio is not None:
            ratio = round(min(LARGEST_RATIO, words / self.target.source_words), 3)
        return Card(
            task=self.request.task,
            target_words=words if ratio is None else None,
            target_ratio=ratio,
            style=self.request.style,
            language=self.request.language or "same",
        )

    def _characters(self) -> float:
        """How long the answer will be, about."""
        return self.target.words * len(self.request.text) / self.target.source_words


@dataclass(slots=True)
class Ear:
    """Hears one answer piece by piece, publishes what is clean of it, and notices a loop."""

    cleaner: Cleaner
    emit: Emit | None
    expected_characters: float
    source: str  # what repeats itself there may do so here
    _published: int = 0
    _tail: str = ""
    _unlooked: int = 0

    def hear(self, piece: str) -> None:
        """Raises TransientError when the model has gone into a loop."""
        self._publish(self.cleaner.feed(piece))
        self._tail = (self._tail + piece)[-LOOP_CHARACTERS:]
        self._unlooked += len(piece)
        if self._unlooked < LOOK_EACH_CHARACTERS:
            return
        self._unlooked = 0
        if looping(self._tail, source=self.source):
            message = "The model began to repeat itself without end; it is tried again by itself."
            raise TransientError("answer_loops", message)

    def finish(self) -> str:
        """The whole clean answer. Raises TransientError if nothing is left of it."""
        self._publish(self.cleaner.finish())
        if not self.cleaner.text.strip():
            message = "The model answered with nothing but remarks; it is tried again by itself."
            raise TransientError("answer_empty", message)
        return self.cleaner.text

    def _publish(self, fresh: str) -> None:
        # Once it shows that published text was no part of the answer, the preview stays as it is until the
        # result.
        if not fresh or self.emit is None or self.cleaner.replaced:
            return
        self._published += len(fresh)
        self.emit(fresh, STREAMED * min(1.0, self._published / max(1.0, self.expected_characters)))
