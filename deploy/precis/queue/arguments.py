"""The arguments of `precis queue` and of its commands. Knows what can be typed, not what it does."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, get_args

from precis.queue.requests import State

Parser: TypeAlias = argparse.ArgumentParser
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DESCRIPTION = "The queue, for operators. Ids can be cut short. Without a command: list."
SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}
MULTIPLES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MOST_ROWS = 100_000
MOST_NUMBER = 2**31 - 1
MOST_BYTES = 2**62
WEIGHTS = (0.01, 100.0)


def fill(queue: Parser) -> None:
    """Gives the verb `queue` its options and commands."""
    queue.description = DESCRIPTION
    queue.set_defaults(command="list")
    _common(queue, None, as_json=False)
    _list_options(queue, {"limit": 20, "state": None, "owner": None, "model": None})
    commands = queue.add_subparsers(metavar="COMMAND")
    _list_options(
        _command(commands, "list", "requests: the newest first, queued ones as they are claimed"), {}
    )
    _command(commands, "show", "one request with all attempts at it").add_argument("id", metavar="ID")
    cancel = _command(commands, "cancel", "end queued or running requests")
    cancel.add_argument("ids", metavar="ID", nargs="+")
    _retry(_command(commands, "retry", "queue failed or cancelled requests again"))
    dead = _command(commands, "dead", "dead letters: what has failed for good, and why")
    _dead_options(dead)
    dead.add_argument("--limit", type=_rows, default=20, metavar="N", help="rows that are listed (20)")
    _model(_command(commands, "pause", "claim nothing more, of a model or of all; what runs ends"))
    _model(_command(commands, "resume", "end a pause"))
    _command(commands, "workers", "who works, with which slots")
    drain = _command(commands, "drain", "let a worker claim nothing more; what it runs ends")
    drain.add_argument("worker", metavar="WORKER", help="its number or name in `precis queue workers`")
    drain.add_argument("--off", action="store_true", help="let it claim again")
    _quota(_command(commands, "quota", "what an account may send, or what everybody may"))
    _command(commands, "watch", "a live view in the terminal; Ctrl-C ends it")


def seconds(text: str) -> int:
    """A length of time: 45s, 30m, 12h, 1d, 2w."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time such as 30m, 12h or 1d")
    return int(match[1]) * SECONDS[match[2]]


def limit(text: str) -> int | None:
    """A number from 0, or `none` for no limit."""
    return _number(text, MOST_NUMBER)


def limit_bytes(text: str) -> int | None:
    """The same; k, m and g multiply by 1024."""
    return _number(text, MOST_BYTES)


def weight(text: str) -> float:
    """A share between 0.01 and 100."""
    least, most = WEIGHTS
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no weight from {least:g} to {most:g}")
    return value


class SetLimit(argparse.Action):
    """Gathers the limits that are given by name: no limit is not the same as not given."""

    def __call__(
        self, parser: Parser, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        namespace.limits = {**(namespace.limits or {}), self.dest: values}


def _command(commands: Verbs, name: str, sentence: str) -> Parser:
    command = commands.add_parser(name, help=sentence, description=sentence)
    command.set_defaults(command=name)
    # What was said before the command's name stands if it is not said again behind it.
    _common(command, argparse.SUPPRESS, as_json=argparse.SUPPRESS)
    return command


def _common(parser: Parser, url: str | None, *, as_json: bool | str) -> None:
    parser.add_argument("--json", action="store_true", default=as_json, help="for scripts")
    parser.add_argument(
        "--database-url",
        default=url,
        metavar="URL",
        help="the database as precis_owner; else $DATABASE_URL, config.toml, or dbmate's .env",
    )


def _list_options(parser: Parser, defaults: dict[str, Any]) -> None:
    def add(name: str, kind: Callable[[str], Any], **options: Any) -> None:
        default = defaults.get(name, argparse.SUPPRESS)
        parser.add_argument(f"--{name}", type=kind, default=default, **options)

    states: Sequence[str] = get_args(State)
    add("state", str, choices=states, help="only those; scheduled ones have a time before which they wait")
    add("owner", str, metavar="EMAIL", help="only this account's")
    add("model", str, metavar="NAME", help="only this model's")
    add("limit", _rows, metavar="N", help="rows that are listed (20)")


def _retry(parser: Parser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*")
    parser.add_argument("--dead", action="store_true", help="all that have failed, or those chosen below")
    _dead_options(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _dead_options(parser: Parser) -> None:
    parser.add_argument("--since", type=seconds, metavar="TIME", help="failed within 30m, 12h, 1d, 2w")
    parser.add_argument("--code", help="failed with this code")


def _model(parser: Parser) -> None:
    parser.add_argument("model", metavar="MODEL", nargs="?", default=None, help="everything if not given")


def _quota(parser: Parser) -> None:
    parser.add_argument(
        "email", metavar="EMAIL", nargs="?", help="everybody without an own one, if not given"
    )
    parser.set_defaults(limits=None)
    for name, dest, kind, sentence in (
        ("--requests-per-day", "requests_per_day", limit, "requests in a day (UTC), or none for no limit"),
        ("--bytes-per-day", "bytes_per_day", limit_bytes, "bytes of text in a day, such as 512m, or none"),
        ("--waiting", "requests_waiting", limit, "requests that may wait at a time, or none"),
        ("--changes-per-minute", "changes_per_minute", limit, "requests changed or deleted, or none"),
    ):
        parser.add_argument(
            name, dest=dest, action=SetLimit, type=kind, default=argparse.SUPPRESS, metavar="N", help=sentence
        )
    sentence = "share of a model: twice the weight, twice the share"
    parser.add_argument("--weight", type=weight, metavar="W", help=sentence)
    parser.add_argument("--reset", action="store_true", help="the account has the same as everybody again")


def _rows(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST_ROWS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {MOST_ROWS}")
    return int(text)


def _number(text: str, most: int) -> int | None:
    if text == "none":
        return None
    match = re.fullmatch(r"(\d{1,18})([kmg]?)(?:i?b)?", text.lower())
    value = int(match[1]) * MULTIPLES[match[2]] if match else -1
    if not 0 <= value <= most:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to {most:,}, and not `none`")
    return value
