"""The command line of `precis`: each verb and its options, handed to one module. How it ends is told
elsewhere. A verb loads its module when it is called, so that none waits for what another needs."""

import asyncio
import contextlib
import dataclasses
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from inspect import BoundArguments
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError

from precis.client.arguments import NO_WISHES, File, RequestId, Style, Task, Wishes
from precis.faults import BadUsage, NotRunning
from precis.layout import Layout, expanded, locate
from precis.options import AsJson, Here
from precis.screen import Screen
from precis.setup.settings import PlaceSettings, StackSettings, load, service_urls

if TYPE_CHECKING:
    from precis.client.api import Client


def _version() -> str:
    from importlib.metadata import version

    return f"precis {version('precis')}"


APP = App(
    name="precis",
    help="Precis on one machine: run it, ask it, look at it.",
    version=_version,
    help_format="plaintext",
    help_formatter="plain",
)
APP.command(  # by name, so that it is loaded when it is called
    "precis.queue.commands:APP",
    name="queue",
    help="For operators: look into the queue, and steer it. Without a command: list.",
)

Verb = Coroutine[None, None, int]


def run() -> int:
    """The exit code. Raises Fault."""
    verb, given, ours = parsed(sys.argv[1:])
    if not ours:  # --help and --version
        verb(*given.args, **given.kwargs)
        return 0
    return int(asyncio.run(verb(*given.args, **given.kwargs, layout=_located())))


def parsed(words: Sequence[str]) -> tuple[Callable[..., Any], BoundArguments, bool]:
    """What is meant: a function, its arguments, and whether it is a verb of ours, which also takes a layout.
    Raises BadUsage."""
    if not words:
        raise BadUsage("no_verb", "Say what to do. `precis --help` lists the verbs.")
    if words[0] == "queue":
        from precis.queue.arguments import command_first

        words = ["queue", *command_first(words[1:])]
    try:
        verb, given, left = APP.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        verbs = " ".join(("precis", *(error.command_chain or ())))
        raise BadUsage("bad_usage", f"{_said(error)} `{verbs} --help` tells what there is.") from error
    return verb, given, "layout" in left


def _said(error: CycloptsError) -> str:
    if isinstance(error, UnusedCliTokensError):
        return f"That is too much: {' '.join(error.unused_tokens or ())}."
    said = str(error)
    return said if said.endswith((".", "?")) else f"{said}."


@APP.command
async def up(*, layout: Here) -> int:
    """Start everything and stay; Ctrl-C stops it."""
    from precis.stack import up

    return await up.run(layout, Screen())


@APP.command
async def demo(*, layout: Here) -> int:
    """Start everything, summarise and shorten a document, stop."""
    from precis.client import demo
    from precis.stack import state, up

    screen = Screen()
    if state.is_held(layout.lock):
        screen.say("Using the stack that is up already.")
        async with _client(layout) as client:
            await demo.run(client, layout.checkout, screen)
    else:
        await up.run_once(layout, screen, lambda client: demo.run(client, layout.checkout, screen))
    return 0


@APP.command
def summarize(
    file: File,
    /,
    *,
    wishes: Wishes = NO_WISHES,
    style: Annotated[
        Style | None, Parameter(help="How it is written: as text, as a list, as one line.")
    ] = None,
    json: Annotated[AsJson, Parameter(help="Print the whole row.")] = False,
    layout: Here,
) -> Verb:
    """Summarise a text, with the stack that is up."""
    return _ask("summarize", file, wishes, style, as_json=json, layout=layout)


@APP.command
def shorten(
    file: File,
    /,
    *,
    wishes: Wishes = NO_WISHES,
    json: Annotated[AsJson, Parameter(help="Print the whole row.")] = False,
    layout: Here,
) -> Verb:
    """Shorten a text, keeping its voice, with the stack that is up."""
    return _ask("shorten", file, wishes, None, as_json=json, layout=layout)


@APP.command
async def result(
    id: RequestId,
    /,
    *,
    json: Annotated[AsJson, Parameter(help="Print the whole row.")] = False,
    layout: Here,
) -> int:
    """Print the result of a request that was made here, once more."""
    from precis.client import ask

    async with _client(layout) as client:
        return await ask.show(client, id, as_json=json)


@APP.command
async def setup(*, layout: Here) -> int:
    """Write config.toml, and the files derived from it."""
    from precis.setup import command

    return command.run(layout, Screen())


@APP.command
async def status(
    *,
    json: Annotated[AsJson, Parameter(help="For scripts, with addresses and the demo login.")] = False,
    layout: Here,
) -> int:
    """Show what runs and what is queued."""
    from precis.stack import status

    return await status.run(layout, _settings(layout), Screen(), as_json=json)


@APP.command
async def completion(shell: Literal["bash", "zsh", "fish"], /, *, layout: Here) -> int:
    """Print the script that lets a shell complete verbs and options."""
    print(APP.generate_completion(shell=shell))
    return 0


def _ask(
    task: Task, file: str, wishes: Wishes, style: Style | None, *, as_json: bool, layout: Layout
) -> Verb:
    """Reads before anything runs: an interrupt ends the waiting for a file at once."""
    from precis.client import ask

    question = ask.Question(task, *ask.read_text(file), wishes, style)

    async def asked() -> int:
        async with _client(layout) as client:
            return await ask.run(client, question, as_json=as_json)

    return asked()


@contextlib.asynccontextmanager
async def _client(layout: Layout) -> "AsyncIterator[Client]":
    from precis.client.api import Account, Addresses, Client, session

    settings = _settings(layout)
    async with session() as http:
        account = Account(settings.demo_email, settings.demo_password)
        yield Client(http, Addresses(*service_urls(settings)), account)


def _settings(layout: Layout) -> StackSettings:
    """Raises NotRunning where there has been no setup."""
    if not layout.config.exists():
        raise NotRunning("not_set_up", "There is no config.toml here yet. Start the service with `make up`.")
    return load(StackSettings, layout)


def _located() -> Layout:
    layout = locate()
    place = load(PlaceSettings, layout)
    return dataclasses.replace(layout, data=layout.home / expanded(place.data_dir))
