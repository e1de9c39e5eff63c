"""The command line of `precis`: reads arguments, and hands them to one module. How it ends is told
elsewhere."""

import argparse
import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine

from precis.client import ask, demo
from precis.client.api import Account, Client
from precis.faults import NotRunning
from precis.layout import Layout, expanded, locate
from precis.queue import arguments, commands
from precis.screen import Screen
from precis.setup import command
from precis.setup.settings import PlaceSettings, StackSettings, load
from precis.stack import lifecycle, status, up
from precis.stack.state import is_held

Arguments = argparse.Namespace
DESCRIPTION = "Precis on one machine: run it, ask it, look at it."


def run() -> int:
    """The exit code. Raises Fault."""
    arguments = parser().parse_args()
    layout = locate()
    place = load(PlaceSettings, layout)
    layout = dataclasses.replace(layout, data=layout.home / expanded(place.data_dir))
    return int(asyncio.run(arguments.run(arguments, layout, place)))


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="precis", description=DESCRIPTION)
    verbs = top.add_subparsers(metavar="VERB", required=True)
    _verb(verbs, "up", _up, "start everything and stay; Ctrl-C stops it")
    _verb(verbs, "demo", _demo, "start everything, summarise and shorten a document, stop")
    for task, sentence in (
        ("summarize", "summarise a text"),
        ("shorten", "shorten a text, keeping its voice"),
    ):
        _ask_options(_verb(verbs, task, _ask, f"{sentence}, with the stack that is up"), task)
    verb = _verb(verbs, "result", _result, "print the result of a request that was made here, once more")
    verb.add_argument("id", type=ask.identifier, help="its id")
    verb.add_argument("--json", action="store_true", help="print the whole row")
    _verb(verbs, "setup", _setup, "write config.toml, and the files derived from it")
    verb = _verb(verbs, "status", _status, "show what runs and what is queued")
    verb.add_argument("--json", action="store_true", help="for scripts, with addresses and the demo login")
    arguments.fill(_verb(verbs, "queue", commands.run, "for operators: look into the queue, and steer it"))
    return top


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[Arguments, Layout, PlaceSettings], Coroutine[None, None, int]],
    help_text: str,
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help_text, description=help_text)
    verb.set_defaults(run=run)
    return verb


def _ask_options(verb: argparse.ArgumentParser, task: str) -> None:
    verb.set_defaults(task=task)
    verb.add_argument("file", help="a text file, or - for standard input")
    length = verb.add_mutually_exclusive_group()
    length.add_argument("--words", type=ask.words, help="how long the result should be")
    share = "how long it should be, as a share of the source (0.2)"
    length.add_argument("--ratio", type=ask.ratio, help=share)
    verb.add_argument("--language", help="the result's language, such as de; the source's if not given")
    verb.add_argument("--model", help="a model that `precis status` lists; the default one if not given")
    verb.add_argument("--json", action="store_true", help="print the whole row")


async def _up(_: Arguments, layout: Layout, place: PlaceSettings) -> int:
    return await up.run(layout, place, Screen())


async def _demo(_: Arguments, layout: Layout, place: PlaceSettings) -> int:
    screen = Screen()
    if is_held(layout.lock):
        screen.say("Using the stack that is up already.")
        async with _client(layout) as client:
            await demo.run(client, layout.checkout, screen)
    else:
        await up.run_once(layout, place, screen, lambda client: demo.run(client, layout.checkout, screen))
    return 0


def _ask(arguments: Arguments, layout: Layout, _: PlaceSettings) -> Coroutine[None, None, int]:
    """Reads before anything runs: an interrupt ends the waiting for a file at once."""
    title, text = ask.read_text(arguments.file)
    question = ask.Question(
        arguments.task, title, text, arguments.words, arguments.ratio, arguments.language, arguments.model
    )
    return _asked(question, layout, as_json=arguments.json)


async def _asked(question: ask.Question, layout: Layout, *, as_json: bool) -> int:
    async with _client(layout) as client:
        return await ask.run(client, question, as_json=as_json)


async def _result(arguments: Arguments, layout: Layout, _: PlaceSettings) -> int:
    async with _client(layout) as client:
        return await ask.show(client, arguments.id, as_json=arguments.json)


async def _setup(_: Arguments, layout: Layout, place: PlaceSettings) -> int:
    return command.run(layout, place, Screen())


async def _status(arguments: Arguments, layout: Layout, _: PlaceSettings) -> int:
    _need_setup(layout)
    settings = load(StackSettings, layout)
    return await status.run(layout, settings, Screen(), as_json=arguments.json)


@contextlib.asynccontextmanager
async def _client(layout: Layout) -> AsyncIterator[Client]:
    _need_setup(layout)
    settings = load(StackSettings, layout)
    async with lifecycle.session() as session:
        account = Account(settings.demo_email, settings.demo_password)
        yield Client(session, lifecycle.addresses(settings), account)


def _need_setup(layout: Layout) -> None:
    if not layout.config.exists():
        raise NotRunning("not_set_up", "There is no config.toml here yet. Start the service with `make up`.")
