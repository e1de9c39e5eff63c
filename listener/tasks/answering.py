"""From a request to a checked result: ask, stream, clean, measure, at most one corrective turn, keep the
better answer.

What summarize and shorten have in common. Knows no word that is said to the model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from listener.checks import report as checks
from listener.errors import TaskError, TransientError
from listener.model.chat import Answer, Message
from listener.offload.errors import OffloadError
from listener.offload.pool import Offload
from listener.tasks import budget, measuring, prompts
from listener.tasks.answer_stream import STREAMED, AnswerStream
from listener.tasks.budget import Target
from listener.tasks.card import Card
from listener.tasks.fence import new_delimiter
from listener.tasks.measuring import CheckedAnswer, Criteria, Source
from listener.tasks.request import ChatModel, Emit, Request, Result

LONGER = 1.5  # an answer that was cut off may be so much longer the second time
LEAST_CORRECTED, MOST_CORRECTED = 0.5, 1.5
LARGEST_RATIO = 0.99

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer with what was measured on it. `failed_checks` are the checks that one more turn may mend."""

    answer: Answer
    body: str
    checks: Mapping[str, Any]
    failed_checks: Sequence[str]
    trimmed: bool
    checked: bool = True

    @property
    def rank_key(self) -> tuple[bool, int, float]:
        """Fewer failed_checks first, then the better length; what could not be checked comes last."""
        return not self.checked, len(self.failed_checks), -(self.checks["length"]["score"] or 0.0)


async def answer(work: "Answering", emit: Emit) -> Result:
    """One checked answer to a request whose text does fit the model. Raises TaskError."""
    messages, room = work.ask()
    emit("", 0.0)
    first = await work.draft(messages, room, emit)
    if not first.failed_checks:
        return describe(work, first, [first])
    emit("", STREAMED)
    try:
        # Not streamed: a reader keeps the first answer before the eyes until the better of the two is there.
        second = await work.draft(
            work.ask_again(messages, first), round(room * LONGER) if first.answer.cut else room
        )
    except TaskError as error:
        log.warning("answer.not_corrected", error=error.code, failed_checks=list(first.failed_checks))
        return describe(work, first, [first])
    return describe(work, min(first, second, key=lambda draft: draft.rank_key), [first, second])


async def pass_through(request: Request, offload: Offload) -> Result:
    """The text is as short as wanted already: itself, without a call."""
    wanted = Criteria(request.task, language=request.language)
    try:
        report = _noted(await offload(measuring.check, request.text, request.text, wanted))
    except OffloadError as error:
        report = _unchecked(error)
    return Result(request.text, report, {"engine": "passthrough", "calls": 0})


def _noted(report: dict[str, Any]) -> dict[str, Any]:
    """A check that could not be made is no fault of the answer's, and may be one of ours."""
    if missing := checks.unknown(report):
        log.warning("answer.partly_checked", unknown=missing)
    return report


def _unchecked(error: OffloadError) -> dict[str, Any]:
    """The report on an answer whose checks have come to no end: nothing is known, and nothing is lost."""
    log.warning("answer.not_checked", error=f"{type(error).__name__}: {error}")
    return checks.not_checked()


def describe(work: "Answering", best: Draft, drafts: Sequence[Draft]) -> Result:
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
class Answering:
    """What stays the same over the turns of one request."""

    request: Request
    source: Source
    target: Target
    model: ChatModel
    offload: Offload
    delimiter: str = field(default_factory=new_delimiter)

    def ask(self) -> tuple[list[Message], int]:
        """The messages of the first turn, and the tokens its answer may have. Raises PermanentError."""
        card = self._card(self.target.words)
        document = self.source.escaped or self.request.text
        around = prompts.ask(card, self.target, document="", delimiter=self.delimiter)
        room = budget.answer_tokens(self.request, self.target, self.source.tokens, self.model)
        prompt = self.model.estimate("\n".join(message["content"] for message in around))
        budget.check_fit(self.source.tokens + prompt, room, self.model)
        return prompts.ask(card, self.target, document=document, delimiter=self.delimiter), room

    def ask_again(self, messages: Sequence[Message], first: Draft) -> list[Message]:
        """The corrective turn. Its card asks for more, or less, than is wanted, by as much as the model
        missed it."""
        aim = self.target.words
        if "length" in first.failed_checks:
            missed = self.target.words / max(1, first.checks["length"]["words"])
            aim = max(1, round(aim * min(max(missed, LEAST_CORRECTED), MOST_CORRECTED)))
        return prompts.ask_again(
            messages,
            self._card(aim),
            self.target,
            answer=first.body,
            checks=first.checks,
            failed_checks=first.failed_checks,
        )

    async def draft(self, messages: Sequence[Message], room: int, emit: Emit | None = None) -> Draft:
        """One call, cleaned and measured."""
        stream = AnswerStream(self.delimiter, self.request.text, emit, self._characters())
        with stream:
            try:
                said = await self.model.chat(messages, answer_tokens=room, hear=stream.hear)
            except TransientError:
                stream.look()  # a server may break off an answer that has gone into a loop: then that is told
                raise
            stream.finish()
        found = await self._measure(said)
        if not found.body:
            message = "The model answered with nothing but remarks; it is tried again by itself."
            raise TransientError("answer_empty", message)
        return Draft(said, found.body, found.checks, found.failed_checks, found.trimmed, found.checked)

    async def _measure(self, said: Answer) -> CheckedAnswer:
        """Checked if that can be had; else only cleaned; else as it was said. Never lost."""
        wanted = self._wanted(said)
        source = self.request.text
        try:
            found = await self.offload(measuring.measure, said.text, source, wanted)
            _noted(found.checks)
            return found
        except OffloadError as error:
            report = _unchecked(error)
        try:
            body = await self.offload(measuring.clean_answer, said.text, source, self.delimiter)
        except OffloadError:
            body = said.text.strip()
        return CheckedAnswer(body, report, checked=False)

    def _wanted(self, said: Answer) -> Criteria:
        """A headline may be shorter than its limit."""
        ratio = self.target.ratio
        return Criteria(
            self.request.task,
            words=self.target.words if ratio is None else None,
            ratio=ratio,
            may_be_shorter=self.request.style == "headline",
            language=self.request.language,
            delimiter=self.delimiter,
            cut=said.cut,
        )

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
