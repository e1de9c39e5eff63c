"""Chooses loopback ports that are free, and that another checkout on the same machine will not choose."""

import re
import socket
from collections.abc import Iterator

from precis.faults import BadConfiguration

FIRST, LAST = 20000, 29990  # below the range that Linux hands out for outgoing connections (32768 and up)
BLOCK = 10


def free_ports(mark: str) -> Iterator[int]:
    """Free ports from a block that belongs to this hexadecimal mark; from the next ones where others sit in
    it."""
    blocks = (LAST - FIRST) // BLOCK
    start = FIRST + int(mark, 16) % blocks * BLOCK
    return (port for port in (*range(start, LAST), *range(FIRST, start)) if is_free(port))


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # a closed connection's TIME_WAIT is no obstacle
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_of(address: str) -> int | None:
    """The port of `host:port`, None for `unix:/path`. Raises BadConfiguration."""
    if address.startswith("unix:"):
        return None
    port = address.rpartition(":")[2]
    if not re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) or int(port) >= 1 << 16:
        raise BadConfiguration("bad_address", f"{address} in config.toml is no host:port. Mend it.")
    return int(port)
