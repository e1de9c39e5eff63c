"""Who is calling, as far as the connection tells: address, network, program.

Knows which proxies to believe, and no account.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from aiohttp import hdrs, web

IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

USER_AGENT_MAX = 200
LOCAL = ipaddress.ip_address("127.0.0.1")
# One customer of a provider has a whole /64 to draw addresses from.
PREFIX_LENGTHS = {4: 32, 6: 64}


@dataclass(frozen=True, slots=True)
class Caller:
    """`prefix` is what limits count and what is recorded, never the full IPv6 address."""

    prefix: str
    user_agent: str


def parse_networks(texts: Iterable[str]) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def identify(request: web.Request, trusted: tuple[IPNetwork, ...]) -> Caller:
    """The caller of this request."""
    address = find_address(request.remote, request.headers.getall("X-Forwarded-For", []), trusted)
    prefix = ipaddress.ip_network((address, PREFIX_LENGTHS[address.version]), strict=False)
    # Printable ASCII only: it ends in a table that people look at.
    agent = re.sub(r"[^\x20-\x7e]", "?", request.headers.get(hdrs.USER_AGENT, ""))
    return Caller(str(prefix), agent[:USER_AGENT_MAX])


def find_address(peer: str | None, forwarded: list[str], trusted: tuple[IPNetwork, ...]) -> IPAddress:
    """The nearest address that is not a trusted proxy's: each proxy appends the one it has seen.

    A peer without an address came through a unix socket, which only this machine's gateway has.
    """
    address = _parse(peer or "") or LOCAL
    if peer and not _is_trusted(address, trusted):
        return address
    for text in reversed([item.strip() for header in forwarded for item in header.split(",")]):
        nearer = _parse(text)
        if nearer is None:
            break
        address = nearer
        if not _is_trusted(address, trusted):
            break
    return address


def _parse(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_trusted(address: IPAddress, trusted: tuple[IPNetwork, ...]) -> bool:
    return any(address in network for network in trusted)
