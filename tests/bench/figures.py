"""A measured figure beside its goal: the table for people, results.json for scripts. Knows no measurement."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Figure:
    """`goal` is a sentence, None for what is shown for comparison only; then `holds` is None too."""

    name: str
    value: float
    unit: str
    goal: str | None = None
    holds: bool | None = None


def at_most(name: str, value: float, unit: str, limit: float) -> Figure:
    return Figure(name, rounded(value), unit, f"<= {limit:g} {unit}", value <= limit)


def at_least(name: str, value: float, unit: str, limit: float) -> Figure:
    return Figure(name, rounded(value), unit, f">= {limit:g} {unit}", value >= limit)


def shown(name: str, value: float, unit: str) -> Figure:
    return Figure(name, rounded(value), unit)


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def quantile(samples: Iterable[float], share: float) -> float:
    """The smallest sample that at least this share of them does not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, max(0, -(-int(share * 1000) * len(ordered) // 1000) - 1))]


def median(samples: Iterable[float]) -> float:
    return statistics.median(samples)


def machine(postgres_version: str) -> dict[str, object]:
    """What the figures depend on; no name of the machine, no path."""
    models = [line.partition(":")[2].strip() for line in _cpu_info() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0] if models else platform.machine(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgres": postgres_version,
    }


def write(figures: Sequence[Figure], postgres_version: str, file: Path = RESULTS) -> None:
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(postgres_version),
        "results": [asdict(figure) for figure in figures],
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def line(figure: Figure) -> str:
    name, *rest = _cells(figure)
    return "  ".join([f"{name}:", *filter(None, rest)])


def table(figures: Sequence[Figure]) -> str:
    rows = [("figure", "value", "goal", ""), *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    verdict = {True: "holds", False: "DOES NOT HOLD", None: ""}[figure.holds]
    return figure.name, f"{figure.value:g} {figure.unit}", figure.goal or "", verdict


def _cpu_info() -> list[str]:
    file = Path("/proc/cpuinfo")
    return file.read_text().splitlines() if file.exists() else []
