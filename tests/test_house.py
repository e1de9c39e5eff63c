"""What keeps the house readable: docstrings, short functions and files, and documents whose commands
exist."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from precis.command_line import parsed
from precis.faults import BadUsage

ROOT = Path(__file__).resolve().parent.parent
LONGEST_FUNCTION = 50
LONGEST_FILE = 400

# Longer files, each with its reason.
LONG_FILES: dict[str, str] = {}

FOLDERS = ("chassis", "listener", "authsvc", "deploy/precis", "tests")
FILES = sorted(file.relative_to(ROOT) for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
PLACES_OF_DOCUMENTS = ("*.md", "sql/*.md", "postgrest/*.md", "deploy/**/*.md")
DOCUMENTS = sorted(file.relative_to(ROOT) for place in PLACES_OF_DOCUMENTS for file in ROOT.glob(place))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def functions(module: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(module) if isinstance(node, Function))


def lines(file: Path) -> int:
    return (ROOT / file).read_text(encoding="utf-8").count("\n")


def length(function: Function) -> int:
    return (function.end_lineno or 0) - function.lineno + 1


def fenced(text: str) -> Iterator[str]:
    """The command lines of a document's fenced blocks, continuations joined. A drawing is none."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if not re.search(r"[─│▶]", block):
            yield from (
                line
                for line in block.replace("\\\n", " ").splitlines()
                if line.strip() and not line.startswith("#")
            )


def verbs() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def is_known(command: str) -> bool:
    """Whether a command as a document shows it can be typed: `make` and `precis` with what they know, others
    by name."""
    program, *arguments = shlex.split(command, comments=True)
    name = program.rpartition("/")[2]
    if name == "make":
        return set(arguments) <= verbs()
    if name == "precis":
        try:
            parsed(arguments)
        except BadUsage:
            return False
        return True
    return name in {
        "curl",
        "psql",
        "dbmate",
        "python",
        "pytest",
        "authsvc",
        "listener",
        "sudo",
        "systemctl",
        "apachectl",
    }


def found(path: str) -> Iterator[Path]:
    """What a path, or the name of an SQL function's file, as the code map writes it stands for."""
    return ROOT.glob(f"sql/functions/{path}" if "/" not in path else path.rstrip("/"))


def test_every_module_says_what_it_does() -> None:
    silent = [str(file) for file in FILES if tree(file).body and not ast.get_docstring(tree(file))]
    assert silent == []


def test_functions_are_short() -> None:
    long = [
        f"{file}: {each.name}"
        for file in FILES
        for each in functions(tree(file))
        if length(each) > LONGEST_FUNCTION
    ]
    assert long == []


def test_files_are_short_or_have_a_reason() -> None:
    assert {str(file) for file in FILES if lines(file) > LONGEST_FILE} == set(LONG_FILES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_commands_in_a_document_exist(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    inline = [f"make {verb}" for verb in re.findall(r"`make ([a-z-]+)`", text)]
    assert [line for line in [*fenced(text), *inline] if not is_known(line)] == []


def test_the_files_that_the_code_map_names_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    code_map = text.partition("## Code map")[2].partition("\n## ")[0]
    named = re.findall(r"`([\w/.*-]+/[\w.*-]*|(?:gate|private|public)\.[\w]+\.sql)`", code_map)
    assert len(named) > 20
    assert [path for path in named if not any(found(path))] == []


@pytest.mark.parametrize(("command", "known"), [
    ("make demo", True), ("make tea", False), ("make            # lists the verbs", True),
    (".venv/bin/precis status --json", True),
    (".venv/bin/precis stauts", False), ("precis shorten README.md --ratio half", False), ("rm -rf /", False),
])  # fmt: skip
def test_a_command_that_does_not_exist_would_be_seen(command: str, known: bool) -> None:
    assert is_known(command) is known


def test_random_delays_have_one_spelling() -> None:
    """chassis.backoff: full jitter, and what is spread between two bounds."""
    drawn = re.compile(r"\brandom\.(uniform|random|randint|randrange|triangular|expovariate)\(")
    services = [file for file in FILES if file.parts[0] in ("chassis", "listener", "authsvc")]
    found = {str(file) for file in services if drawn.search((ROOT / file).read_text(encoding="utf-8"))}
    assert found == {"chassis/backoff.py"}
