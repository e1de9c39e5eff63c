"""What goes through the pipes between a process and its children: a length of eight bytes, then a pickle."""

import pickle
from asyncio import StreamReader, StreamWriter
from typing import IO, Any

LENGTH_BYTES = 8


def pack(message: Any) -> bytes:
    """What `unpack` makes the same message of."""
    return pickle.dumps(message, pickle.HIGHEST_PROTOCOL)


def unpack(body: bytes) -> Any:
    """The message. Both ends run our own code, and nobody else holds an end."""
    return pickle.loads(body)  # noqa: S301


async def send(stream: StreamWriter, body: bytes) -> None:
    """Length and body: apart, so that a large one is not copied once more."""
    stream.write(len(body).to_bytes(LENGTH_BYTES, "big"))
    stream.write(body)
    await stream.drain()


async def receive(stream: StreamReader) -> bytes:
    """The next body. Raises IncompleteReadError where there is none."""
    return await stream.readexactly(int.from_bytes(await stream.readexactly(LENGTH_BYTES), "big"))


def read(file: IO[bytes]) -> bytes:
    """The next body. Raises EOFError where there is none."""
    return _exactly(file, int.from_bytes(_exactly(file, LENGTH_BYTES), "big"))


def write(file: IO[bytes], body: bytes) -> None:
    """Send one body."""
    file.write(len(body).to_bytes(LENGTH_BYTES, "big"))
    file.write(body)
    file.flush()


def _exactly(file: IO[bytes], count: int) -> bytes:
    found = file.read(count)
    if len(found) < count:
        raise EOFError
    return found
