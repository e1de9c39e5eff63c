"""The table of a run: what each fault did, and what it broke."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.driver import Spell
from tests.chaos.evidence import Evidence
from tests.chaos.invariants import Violation

LEAST_RATIO = 0.98
ENOUGH = 3  # samples of a kind, before its median is held to the goal
HEADINGS = ("fault", "times", "struck", "accepted", "done", "lost", "duplicates", "overshoot", "recovery s",
            "throughput")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """All spells of one kind of fault."""

    fault: str
    times: int
    struck: int
    accepted: int
    done: int
    lost: int
    duplicates: int
    overshoot: int
    recovery_seconds: float | None  # the longest; None if one did not recover, or none was waited for
    ratio: float | None  # the median

    @property
    def is_slower(self) -> bool:
        """Whether enough samples say so."""
        return self.times >= ENOUGH and self.ratio is not None and self.ratio < LEAST_RATIO


def lines(spells: Sequence[Spell], evidence: Evidence, found: Sequence[Violation]) -> list[Line]:
    """One for each kind of fault that struck, in the order of the first."""
    kinds = list(dict.fromkeys(spell.fault for spell in spells))
    by_kind = {kind: [spell for spell in spells if spell.fault == kind] for kind in kinds}
    return [_line(kind, those, evidence, found) for kind, those in by_kind.items()]


def _line(fault: str, spells: Sequence[Spell], evidence: Evidence, found: Sequence[Violation]) -> Line:
    marks = {row.mark for row in evidence.accepted if row.fault == fault}
    states = {job.mark: job.state for job in evidence.jobs}
    broken = [each.rule for each in found if _concerns(each, marks, spells)]
    recoveries = [spell.recovered_at - spell.during.ended for spell in spells if spell.recovered_at]
    return Line(
        fault,
        len(spells),
        sum(spell.struck for spell in spells),
        len(marks),
        sum(states.get(mark) == "done" for mark in marks),
        broken.count("lost"),
        broken.count("duplicate"),
        broken.count("overshoot"),
        max(recoveries) if len(recoveries) == len(spells) else None,
        _ratio(spells, evidence),
    )


def _concerns(violation: Violation, marks: set[int], spells: Sequence[Spell]) -> bool:
    """Too many calls belong to the fault during which they were made; all else to that of the request."""
    if violation.rule == "overshoot" and violation.at is not None:
        return any(spell.during.began <= violation.at <= spell.after.ended for spell in spells)
    return violation.mark in marks


def _ratio(spells: Sequence[Spell], evidence: Evidence) -> float | None:
    ended = sorted(job.finished_at for job in evidence.jobs if job.state == "done" and job.finished_at)
    ratios = [spell.after.rate(ended) / before for spell in spells if (before := spell.before.rate(ended))]
    return statistics.median(ratios) if ratios else None


def table(found: Sequence[Line]) -> str:
    """Aligned, with a line for everything together."""
    rows = [HEADINGS, *(_cells(line) for line in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return "\n".join("  ".join(_aligned(row, widths)) for row in rows)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Names to the left, numbers to the right."""
    return [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]


def _cells(line: Line) -> tuple[str, ...]:
    numbers = (line.times, line.struck, line.accepted, line.done, line.lost, line.duplicates, line.overshoot)
    recovery = "-" if line.recovery_seconds is None else f"{line.recovery_seconds:.1f}"
    ratio = "-" if line.ratio is None else f"{100 * line.ratio:.1f} %"
    return (line.fault, *map(str, numbers), recovery, ratio)
