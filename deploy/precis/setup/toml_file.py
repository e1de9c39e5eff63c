"""Reads config.toml and sets values in it, leaving a person's comments and order alone. Knows no key by
name."""

import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from precis.faults import BadConfiguration

Value = str | int | bool
Values = Mapping[tuple[str, str], Value]  # (section, name) -> value


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
    """The same TOML text with these values in it. Raises BadConfiguration where a section cannot take one."""
    try:
        document = tomlkit.parse(text)
        for (section, name), value in values.items():
            document.setdefault(section, tomlkit.table())[name] = value
        return tomlkit.dumps(document)
    except (TOMLKitError, TypeError) as error:
        raise BadConfiguration(
            "config_not_editable",
            f"config.toml is laid out in a way that precis cannot edit: {error}. Write each key on a line of"
            " its own under [section], or remove the file and run precis setup again.",
        ) from error


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
