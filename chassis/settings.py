"""A process's settings: one frozen dataclass, filled from layers, all faults reported at once.

Knows no key by name: the defaults live in config.default.toml and nowhere else.
"""

import dataclasses
import json
import math
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

DEFAULTS_NAME = "config.default.toml"
# A key's line, or the commented-out line of a key that has no default. Sentences have a space after the hash.
KEY_LINE = re.compile(r"#?([a-z][a-z0-9_]*) = ")
MASK = "********"


class SettingsError(Exception):
    """The settings cannot be used; each fault names a key, where its value is from, and what is expected."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Given(NamedTuple):
    """A value before it is checked: of TOML's types, or text of the outside world."""

    value: Any
    source: str
    is_text: bool


Layer = Mapping[str, Given]


def key(path: str, *, secret: bool = False) -> Any:
    """A dataclass field bound to the setting `path`, as "section.name". A secret is never printed."""
    return dataclasses.field(repr=not secret, metadata={"key": path, "secret": secret})


def load(cls: type[T], *, environ: Mapping[str, str] = os.environ) -> T:
    """Fill `cls` from config.default.toml, config.toml, PRECIS_<SECTION>_<NAME>, credentials; the later wins.

    config.toml is $PRECIS_CONFIG, or ./config.toml where there is one; credentials are files
    $CREDENTIALS_DIRECTORY/<section>.<name>. Raises SettingsError with every fault found; what only `cls` can
    judge, such as a range, its __post_init__ judges, and raises the same.
    """
    faults: list[str] = []
    paths = [field.metadata["key"] for field in bound(cls)]
    defaults = _toml_layer(defaults_path(), faults)
    layers = [
        _credentials(environ, paths, faults),
        _environment(environ, paths),
        _file(environ, faults),
        defaults,
    ]
    hints = get_type_hints(cls)
    values = {
        field.name: _settle(field, hints[field.name], layers, faults)
        for field in bound(cls)
    }  # fmt: skip
    if faults:
        raise SettingsError(faults)
    return cls(**values)


def describe(settings: object) -> str:
    """The effective settings, one `section.name = value` in TOML a line, secrets masked."""
    lines = []
    for field in bound(type(settings)):
        value = getattr(settings, field.name)
        lines.append(
            f"{field.metadata['key']} = {_as_toml(MASK if field.metadata['secret'] and value else value)}"
        )
    return "\n".join(lines)


def bound(cls: type) -> Iterator["dataclasses.Field[Any]"]:
    """The fields of a settings class; one that key() did not make is a mistake of ours."""
    for field in dataclasses.fields(cls):
        if "key" not in field.metadata:
            raise TypeError(f"{cls.__name__}.{field.name} is not bound to a setting: use key()")
        yield field


def defaults_path() -> Path:
    """Where config.default.toml lies: beside this module when installed, else at the checkout's root."""
    packaged = Path(__file__).with_name(DEFAULTS_NAME)
    return packaged if packaged.exists() else Path(__file__).parent.parent / DEFAULTS_NAME


def known_keys() -> set[str]:
    """Every key that config.default.toml speaks of, those without a default included."""
    section, found = "", set()
    for line in defaults_path().read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[] ")
        elif match := KEY_LINE.match(line):
            found.add(f"{section}.{match[1]}")
    return found


def convert(given: Given, hint: Any) -> Any:
    """The value as the field's type. Raises ValueError that says what is expected."""
    if get_origin(hint) is Literal:
        return _one_of(given.value, get_args(hint))
    if get_origin(hint) is tuple:
        return _texts(given)
    readers: dict[Any, Callable[[Given], Any]] = {str: _text, bool: _bool, int: _int, float: _float}
    return readers[hint](given)


def _settle(field: "dataclasses.Field[Any]", hint: Any, layers: list[Layer], faults: list[str]) -> Any:
    path = field.metadata["key"]
    given = next((layer[path] for layer in layers if path in layer), None)
    if given is None or (given.value == "" and path not in layers[-1]):
        variable = _variable(path)
        faults.append(
            f"{path}: required: set it in config.toml, as {variable}, or as a credential named {path}"
        )
        return None
    try:
        return convert(given, hint)
    except ValueError as error:
        got = "" if field.metadata["secret"] else f", not {given.value!r}"
        faults.append(f"{path}: must be {error}{got} (from {given.source})")
        return None


def _toml_layer(path: Path, faults: list[str]) -> Layer:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        faults.append(f"{path}: cannot be read as TOML: {error}")
        return {}
    sections = {
        name: section if isinstance(section, dict) else {"": section} for name, section in content.items()
    }
    return {
        f"{name}.{leaf}" if leaf else name: Given(value, str(path), is_text=False)
        for name, section in sections.items()
        for leaf, value in section.items()
    }


def _file(environ: Mapping[str, str], faults: list[str]) -> Layer:
    path = Path(environ.get("PRECIS_CONFIG") or "config.toml")
    if "PRECIS_CONFIG" not in environ and not path.exists():
        return {}
    layer = _toml_layer(path, faults)
    unknown = sorted(layer.keys() - known_keys())
    faults.extend(f"{name}: unknown key (in {path}); {DEFAULTS_NAME} lists all" for name in unknown)
    return layer


def _environment(environ: Mapping[str, str], paths: list[str]) -> Layer:
    return {
        path: Given(environ[_variable(path)], f"{_variable(path)} in the environment", is_text=True)
        for path in paths
        if _variable(path) in environ
    }


def _credentials(environ: Mapping[str, str], paths: list[str], faults: list[str]) -> Layer:
    layer: dict[str, Given] = {}
    if folder := environ.get("CREDENTIALS_DIRECTORY"):
        for file in (Path(folder, path) for path in paths):
            try:
                text = file.read_text(encoding="utf-8").removesuffix("\n")
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                faults.append(f"{file.name}: the credential {file} cannot be read: {error}")
                continue
            layer[file.name] = Given(text, f"the credential {file}", is_text=True)
    return layer


def _variable(path: str) -> str:
    return f"PRECIS_{path.replace('.', '_').upper()}"


def _text(given: Given) -> str:
    if not isinstance(given.value, str) or "\0" in given.value:
        raise ValueError("a text")
    return given.value


def _bool(given: Given) -> bool:
    value = {"true": True, "false": False}.get(given.value) if given.is_text else given.value
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _int(given: Given) -> int:
    if given.is_text and re.fullmatch(r"[+-]?[0-9]{1,18}", given.value):
        return int(given.value)
    if type(given.value) is not int:
        raise ValueError("a whole number")
    return given.value


def _float(given: Given) -> float:
    if given.is_text and re.fullmatch(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", given.value):
        return float(given.value)
    if type(given.value) not in (int, float) or not math.isfinite(given.value):
        raise ValueError("a number")
    return float(given.value)


def _texts(given: Given) -> tuple[str, ...]:
    items = given.value
    if given.is_text:
        items = [item.strip() for item in given.value.split(",")] if given.value.strip() else []
    if not isinstance(items, list) or not all(isinstance(item, str) and item for item in items):
        raise ValueError("texts separated by commas" if given.is_text else "a list of texts, none empty")
    return tuple(items)


def _one_of(value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ValueError("one of " + ", ".join(map(str, choices)))
    return value


def _as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_as_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
