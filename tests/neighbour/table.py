"""The table of a run: how long B waited, alone and beside A; how long a worker was silent."""

from collections.abc import Mapping, Sequence

from tests.bench.figures import quantile
from tests.neighbour.measuring import Line
from tests.neighbour.steady import NEVER

WIDTH = 34
HEADING = (
    f"{'scenario':<{WIDTH}} {'B alone p50/p95':>16} {'B beside A p50/p95':>19} {'limit':>6}"
    f" {'/readyz gap':>12}       A was answered; B was refused"
)


def row(line: Line) -> str:
    verdict = "ok " if line.is_ok else "NOT" if line.is_telling else "??? "
    alone = f"{_seconds(line.alone, 0.5)} / {_seconds(line.alone, 0.95)}"
    beside = f"{_seconds(line.beside, 0.5)} / {_seconds(line.beside, 0.95)}"
    return (
        f"{line.scenario.name:<{WIDTH}} {alone:>16} {beside:>19} {line.limit:>6.2f}"
        f" {line.silence:>10.2f} s  {verdict}  {_counts(line.answers)}; {_counts(line.refusals) or '-'}"
    )


def _seconds(waits: Sequence[float], share: float) -> str:
    found = quantile(waits, share)
    return "never" if found == NEVER else f"{found:.2f}"


def _counts(answers: Mapping[str, int]) -> str:
    return " ".join(f"{status}x{count}" for status, count in sorted(answers.items()))
