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
MOST_WORDS, MOST_DECISIONS = 1450, 10  # of ARCHITECTURE.md; words with names of files

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
    rows = re.findall(r"^\| `([\w/]+/)`(.*)", text, re.MULTILINE)
    assert len(rows) > 10
    named = [
        (folder, name)
        for folder, row in rows
        for name in ["", *re.findall(r"`([\w*.]+\.\w+|\w+/)`", row)]
    ]
    missing = [place for place in named if not any(ROOT.glob("".join(place)))]
    assert [name for _, name in missing if not (ROOT / name).exists()] == []


def classes(package: str) -> dict[str, list[str]]:
    """The public classes of a package by name, with the modules that have one."""
    found: dict[str, list[str]] = {}
    for file in FILES:
        if file.is_relative_to(package):
            for node in ast.walk(tree(file)):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found.setdefault(node.name, []).append(str(file))
    return found


@pytest.mark.parametrize("package", ["chassis", "listener", "authsvc", "deploy/precis"])
def test_no_two_classes_of_a_package_have_one_name(package: str) -> None:
    assert {name: files for name, files in classes(package).items() if len(files) > 1} == {}


def test_architecture_is_read_in_five_minutes() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert len(re.findall(r"[A-Za-z][\w'`.-]*", text)) <= MOST_WORDS
    decisions = text.partition("## Decisions")[2].partition("\n## ")[0]
    assert len(re.findall(r"^\| (?!decision|---)", decisions, re.MULTILINE)) <= MOST_DECISIONS


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
