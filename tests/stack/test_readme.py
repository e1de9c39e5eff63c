"""The README's commands for programs, run by a shell as they stand there."""

import asyncio
import json
import os
import re

import pytest

from tests.fix_postgres import ROOT
from tests.fix_stack import Stack
from tests.stack.client import Client
from tests.test_house import fenced

pytestmark = pytest.mark.stack


def command(containing: str) -> str:
    lines = fenced((ROOT / "README.md").read_text(encoding="utf-8"))
    (found,) = [line for line in lines if re.search(containing, line)]
    return found


async def shell(line: str, client: Client, **variables: str) -> asyncio.subprocess.Process:
    environ = {**os.environ, "EVENTS": client.events_url, "TOKEN": client.token or "", **variables}
    quiet = line.replace("curl ", "exec curl --silent --fail ")
    return await asyncio.create_subprocess_exec(
        "sh", "-c", quiet, env=environ, stdout=asyncio.subprocess.PIPE
    )


async def test_a_ticket_opens_a_stream_without_a_header(stack: Stack) -> None:
    async with stack.sign_up() as client:
        sold, _ = await (await shell(command("events/ticket"), client)).communicate()
        stream = await shell(command(r"\?ticket="), client, TICKET=json.loads(sold)["ticket"])
        assert stream.stdout
        while not (line := await stream.stdout.readline()).startswith(b"id:"):
            assert line, "the stream was not opened"
        stream.terminate()
        await stream.wait()
