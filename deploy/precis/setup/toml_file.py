"""Reads config.toml and sets values in it, leaving a person's comments and order alone. Knows no key by
name."""

import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

from precis.faults import BadConfiguration

Value = str | int | bool
Values = Mapping[tuple[str, str], Value]  # (section, name) -> value

SECTION = re.compile(r"^\s*\[\s*([A-Za-z0-9_]+)\s*\]\s*(#.*)?$")


def read(path: Path) -> dict[str, dict[str, object]]:
    """The file's sections; nothing if there is no file yet."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise BadConfiguration(
            "config_unreadable", f"{path} is not valid TOML: {error}. Mend or remove it."
        ) from error
    return {name: section for name, section in content.items() if isinstance(section, dict)}


def edited(text: str, values: Values) -> str:
    """The same TOML text with these values in it. Raises BadConfiguration if it is laid out in a way that
    line-wise editing cannot follow (inline or dotted tables)."""
    lines = text.splitlines()
    for (section, name), value in values.items():
        _set(lines, section, f"{name} = {json.dumps(value, ensure_ascii=False)}", name)
    result = "\n".join(lines).strip("\n") + "\n"
    _check(result, values)
    return result


def write_private(path: Path, text: str) -> None:
    """Replaces a file that holds secrets: in one step, and never readable by others."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            if os.geteuid() == 0:  # in a person's checkout the file stays theirs
                owner = path.parent.stat()
                os.fchown(descriptor, owner.st_uid, owner.st_gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _set(lines: list[str], section: str, line: str, name: str) -> None:
    start = next((i for i, text in enumerate(lines) if _section(text) == section), None)
    if start is None:
        lines += ["", f"[{section}]", line]
        return
    end = next((i for i in range(start + 1, len(lines)) if lines[i].lstrip().startswith("[")), len(lines))
    key = re.compile(rf"^\s*{re.escape(name)}\s*=")
    found = next((i for i in range(start + 1, end) if key.match(lines[i])), None)
    if found is not None:
        lines[found] = line
        return
    while end > start + 1 and not lines[end - 1].strip():
        end -= 1
    lines.insert(end, line)


def _section(line: str) -> str | None:
    match = SECTION.match(line)
    return match.group(1) if match else None


def _check(text: str, values: Values) -> None:
    try:
        content = tomllib.loads(text)
        if all(content[section][name] == value for (section, name), value in values.items()):
            return
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        pass
    raise BadConfiguration(
        "config_not_editable",
        "config.toml is laid out in a way that precis cannot edit. Write each key on a line of its own under "
        "[section], or remove the file and run precis setup again.",
    )
