"""Imports run one way (ARCHITECTURE.md): who may know whom, read from the sources."""

import ast
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "chassis": ROOT / "chassis",
    "listener": ROOT / "listener",
    "authsvc": ROOT / "authsvc",
    "precis": ROOT / "deploy/precis",
}
OURS = (*PACKAGES, "tests")
MOST_ROOMS, MOST_ARROWS = 13, 30  # of the listener: what a stranger can keep in mind

Graph = Mapping[str, set[str]]

# What each room of the `precis` command may know.
PRECIS_SHARED = ("precis.faults", "precis.layout", "precis.options", "precis.screen", "precis.streams")

# Of our own modules, one below the first name imports nothing but what lies below the others.
MAY_KNOW: dict[str, tuple[str, ...]] = {
    "chassis": ("chassis",),
    "authsvc": ("authsvc", "chassis"),
    "listener": ("listener", "chassis"),
    "precis": ("precis", "chassis", "listener.text"),
    "precis.client": ("precis.client", *PRECIS_SHARED, "listener.text", "chassis.backoff"),
    "precis.setup": ("precis.setup", *PRECIS_SHARED, "chassis"),
    "precis.queue": ("precis.queue", "precis.setup", *PRECIS_SHARED, "chassis"),
    "precis.stack": ("precis.stack", "precis.setup", "precis.client", *PRECIS_SHARED),
    # The rooms of the listener, the lowest first.
    "listener.errors": (),
    "listener.text": ("listener.text",),
    "listener.queue": ("listener.queue", "chassis"),
    "listener.checks": ("listener.checks", "listener.text"),
    "listener.offload": ("listener.offload", "listener.checks", "listener.text"),
    "listener.model": ("listener.model", "listener.queue", "listener.text", "listener.errors", "chassis"),
    "listener.sources": (
        "listener.sources",
        "listener.queue.jobs",
        "listener.offload",
        "listener.text",
        "listener.errors",
    ),
    "listener.tasks": (
        "listener.tasks",
        "listener.model.chat",
        "listener.model.diagnosis",
        "listener.offload",
        "listener.checks",
        "listener.text",
        "listener.errors",
    ),
    "listener.work": (
        "listener.work",
        "listener.sources",
        "listener.tasks",
        "listener.model",
        "listener.queue",
        "listener.offload",
        "listener.text",
        "listener.errors",
        "chassis",
    ),
    "listener.engine": ("listener.engine", "listener.offload", "listener.text", "chassis"),
    "listener.events": ("listener.events", "chassis"),
    # One call of a model knows no host and no statement.
    "listener.model.chat": (
        "listener.model.rulings",
        "listener.model.diagnosis",
        "listener.model.calibration",
        "listener.model.server",
        "listener.text",
        "listener.errors",
    ),
    "listener.model.server": ("listener.model.diagnosis",),
    "listener.model.listing": ("listener.model.diagnosis",),
    "listener.model.calibration": ("listener.text",),
    "listener.model.breaker": ("listener.model.rulings", "listener.errors", "chassis.backoff"),
    "listener.model.diagnosis": ("listener.model.rulings", "listener.errors"),
    "listener.model.rulings": ("listener.errors",),
    "authsvc.errors": ("chassis",),
    "authsvc.keys": ("authsvc.keys", "authsvc.database", "authsvc.errors", "chassis"),
}

# What lies below the first name is imported by what lies below the others, and by nobody else.
ONLY_KNOWN_TO = {
    "listener.work.service": ("listener.__main__",),
    "listener.work.worker": ("listener.work.service",),
    "listener.work.sweeper": ("listener.work.service",),
    "listener.work.notices": ("listener.work.service", "listener.work.worker"),
    "listener.engine": ("listener.engine", "listener.__main__"),
    "listener.events": ("listener.events", "listener.__main__"),
    "listener.tasks": ("listener.tasks", "listener.work.attempt", "listener.work.outcomes"),
    "listener.__main__": (),
    "authsvc.app": ("authsvc.__main__",),
    "authsvc.endpoints": ("authsvc.endpoints", "authsvc.app"),
    "authsvc.accounts": ("authsvc.app", "authsvc.endpoints"),
    "authsvc.__main__": (),
    "precis.queue": ("precis.queue", "precis.command_line"),
    "precis.stack": ("precis.stack", "precis.command_line"),
    "precis.command_line": ("precis.__main__",),
    "precis.__main__": (),
}

# Libraries that what lies below the first name does without: one driver in one program, and tasks that know
# no socket.
DOES_WITHOUT = {
    "chassis": ("psycopg", "ollama", "bcrypt"),
    "listener": ("psycopg", "bcrypt", "ollama", "pydantic"),
    "authsvc": ("psycopg", "ollama", "numpy"),
    "precis": ("asyncpg", "bcrypt", "ollama", "numpy"),
    "listener.tasks": ("asyncpg", "aiohttp", "ollama", "httpx", "socket"),
    "listener.text": ("asyncpg", "aiohttp", "ollama", "httpx", "socket", "asyncio", "structlog"),
    "listener.model.chat": ("asyncpg",),
}


def is_below(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def sources() -> dict[str, Path]:
    """Every module of ours by name."""
    return {
        ".".join([package, *file.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): file
        for package, folder in PACKAGES.items()
        for file in folder.rglob("*.py")
    }


def imported(module: str, file: Path, known: Iterable[str]) -> set[str]:
    """The names of the modules it imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name if name in known else name.rpartition(".")[0] or name for name in names}


def graph() -> Graph:
    modules = sources()
    return {module: imported(module, file, modules) for module, file in modules.items()}


def faults(graph: Graph) -> set[str]:
    """Imports that break a rule, as `importer -> imported`."""
    return {f"{who} -> {whom}" for who, names in graph.items() for whom in names if not is_allowed(who, whom)}


def is_allowed(who: str, whom: str) -> bool:
    if is_below(whom, "tests"):
        return False
    if any(
        is_below(who, part) and is_below(whom, library)
        for part in DOES_WITHOUT
        for library in DOES_WITHOUT[part]
    ):
        return False
    if not any(is_below(whom, package) for package in OURS):
        return True
    known = all(
        any(is_below(whom, to) for to in MAY_KNOW[part])
        for part in MAY_KNOW
        if is_below(who, part) and who != whom
    )
    hidden = [part for part in ONLY_KNOWN_TO if is_below(whom, part)]
    return known and all(any(is_below(who, by) for by in ONLY_KNOWN_TO[part]) for part in hidden)


def rooms(graph: Graph, package: str) -> Graph:
    """The sub-packages of a package, and the modules at its top, with the others that each knows."""
    drawn: dict[str, set[str]] = {}
    for who, names in graph.items():
        if is_below(who, package) and who != package:
            known = {_room(whom, package) for whom in names if is_below(whom, package) and whom != package}
            drawn.setdefault(_room(who, package), set()).update(known)
    return {room: known - {room} for room, known in drawn.items()}


def _room(module: str, package: str) -> str:
    return module.removeprefix(package + ".").partition(".")[0]


def cycles(graph: Graph) -> set[str]:
    """Modules that come back to themselves through their imports."""
    reach = {who: set(names) & graph.keys() for who, names in graph.items()}
    for middle in graph:
        for who in graph:
            if middle in reach[who]:
                reach[who] |= reach[middle]
    return {who for who in graph if who in reach[who]}


def test_imports_run_one_way() -> None:
    assert faults(graph()) == set()


def test_no_import_comes_back_to_itself() -> None:
    assert cycles(graph()) == set()


def test_the_listener_has_few_rooms_and_no_way_back() -> None:
    drawn = rooms(graph(), "listener")
    assert len(drawn) <= MOST_ROOMS, sorted(drawn)
    assert sum(map(len, drawn.values())) <= MOST_ARROWS, drawn
    assert cycles(drawn) == set()


def test_a_way_back_between_rooms_would_be_seen() -> None:
    drawn = rooms({"a.b.one": {"a.c.two", "x"}, "a.c.two": set(), "a.c.three": {"a.b.one"}, "a": set()}, "a")
    assert drawn == {"b": {"c"}, "c": {"b"}}
    assert cycles(drawn) == {"b", "c"}


def test_every_rule_is_about_something_that_exists() -> None:
    modules = sources()
    for name in {
        *MAY_KNOW,
        *ONLY_KNOWN_TO,
        *DOES_WITHOUT,
        *(to for names in ONLY_KNOWN_TO.values() for to in names),
    }:
        assert any(is_below(module, name) for module in modules), name


@pytest.mark.parametrize(("who", "whom"), [
    ("chassis.http", "listener.text"), ("chassis.http", "authsvc.tokens"), ("chassis.http", "precis.layout"),
    ("chassis.database", "psycopg"),
    ("listener.work.worker", "authsvc.tokens"), ("listener.queue.jobs", "precis.layout"),
    ("listener.work.lease", "psycopg"), ("listener.queue.rescue", "listener.work.sweeper"),
    ("listener.model.hosts", "listener.work.slots"), ("listener.text.words", "listener.checks.report"),
    ("authsvc.app", "listener.text.words"), ("authsvc.app", "precis.layout"),
    ("authsvc.accounts", "psycopg.rows"),
    ("precis.stack.up", "authsvc.app"), ("precis.stack.up", "listener.work.service"),
    ("precis.stack.up", "listener"),
    ("precis.stack.database", "asyncpg"), ("precis.stack.up", "precis.queue.control"),
    ("precis.setup.config", "precis.stack.process"), ("precis.client.api", "precis.setup.settings"),
    ("listener.text.words", "chassis.settings"), ("listener.text.words", "listener.errors"),
    ("listener.text.words", "asyncio"),
    ("listener.engine.server", "listener.model.chat"), ("listener.engine.server", "listener.queue.jobs"),
    ("listener.events.app", "listener.queue.jobs"),
    ("listener.events.app", "listener.text.words"), ("listener.tasks.summarize", "listener.queue.jobs"),
    ("listener.tasks.shorten", "asyncpg"),
    ("listener.tasks.summarize", "listener.sources.text"), ("listener.tasks.summarize", "ollama"),
    ("listener.model.chat", "listener.tasks.request"),
    ("listener.queue.jobs", "listener.work.worker"), ("listener.work.worker", "listener.work.service"),
    ("listener.work.lease", "listener.work.worker"),
    ("listener.work.worker", "listener.events.hub"), ("listener.work.worker", "listener.tasks.summarize"),
    ("listener.work.lease", "listener.__main__"),
    ("authsvc.tokens", "authsvc.app"), ("authsvc.keys.ring", "authsvc.tokens"),
    ("authsvc.accounts", "authsvc.endpoints.bodies"),
    ("authsvc.sessions", "authsvc.endpoints.bodies"),
    ("authsvc.sessions", "authsvc.accounts"), ("chassis.http", "tests.fix_postgres"),
    ("precis.stack.up", "tests"),
    ("listener.queue.jobs", "tests.sql"),
])  # fmt: skip
def test_this_import_would_break_a_rule(who: str, whom: str) -> None:
    assert faults({who: {whom}}) == {f"{who} -> {whom}"}


def test_a_circle_would_be_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == {"a", "b", "c"}
