"""Keeps the migrations' copies of the functions in step with sql/functions, where each stands once.

  python sql/chain.py fold               until 0.1.0: write each function into the baseline, in place
  python sql/chain.py new verb_object    from then on: a migration with the functions that differ, up and down

In a migration a function stands in a section: a line `-- functions/<schema>.<name>.sql`, the text of that
file, an empty line.
"""

import datetime
import re
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SECTION = re.compile(r"^-- (functions/\S+\.sql)\n((?:.+\n)*)", re.MULTILINE)
DOWN = "-- migrate:down\n"
RELOAD = "notify pgrst, 'reload schema';\n"


def migrations(folder: Path = FOLDER) -> list[Path]:
    """The chain, in its order."""
    return sorted((folder / "migrations").glob("*.sql"))


def canonical(folder: Path = FOLDER) -> dict[str, str]:
    """The text of each function's file, by its path below sql/."""
    files = (folder / "functions").glob("*.sql")
    return {f"functions/{file.name}": file.read_text("utf-8") for file in files}


def last_texts(folder: Path = FOLDER) -> dict[str, str]:
    """What the chain, taken up to its end, leaves of each function."""
    ups = "".join(file.read_text("utf-8").partition(DOWN)[0] + "\n" for file in migrations(folder))
    return dict(SECTION.findall(ups))


def fold(folder: Path = FOLDER) -> list[str]:
    """Write each function where the chain makes it last; the functions that have no place yet."""
    texts, placed = canonical(folder), set[str]()

    def section(match: re.Match[str]) -> str:
        name = match[1]
        if name in placed or name not in texts:
            return match[0]
        placed.add(name)
        return f"-- {name}\n{texts[name]}"

    for file in reversed(migrations(folder)):
        up, mark, down = file.read_text("utf-8").partition(DOWN)
        file.write_text(SECTION.sub(section, up) + mark + down, encoding="utf-8")
    return sorted(texts.keys() - placed)


def new(verb_object: str, folder: Path = FOLDER) -> Path:
    """A new migration with the functions whose file differs from the chain, as they are and as they were."""
    texts, before = canonical(folder), last_texts(folder)
    changed = sorted(name for name in texts if texts[name] != before.get(name))
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%d%H%M%S")
    file = folder / f"migrations/{stamp}_{verb_object}.sql"
    up = "".join(f"-- {name}\n{texts[name]}\n" for name in changed)
    down = "".join(_back(name, texts[name], before.get(name)) for name in reversed(changed))
    header = "-- Why this is done.\n-- Locks: none on existing tables.\n\n"
    file.write_text(f"{header}-- migrate:up\n{up}{RELOAD}\n{DOWN}{down}{RELOAD}", encoding="utf-8")
    return file


def _back(name: str, text: str, before: str | None) -> str:
    if before is not None:
        return f"-- {name}\n{before}\n"
    made = re.findall(r"^comment on function (.+\)) is", text, re.MULTILINE)
    return "".join(f"drop function {signature};\n" for signature in made)


def main(arguments: list[str]) -> int:
    """The exit code."""
    match arguments:
        case ["fold"]:
            homeless = fold()
            for name in homeless:
                print(f"Put the line `-- {name}` into the migration that is to make it.", file=sys.stderr)
            return int(bool(homeless))
        case ["new", verb_object]:
            print(new(verb_object))
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
