"""Who is calling."""

import pytest

from authsvc.callers import find_address, parse_networks

TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8:ffff::/48", "127.0.0.1"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.7, 10.2.2.2"], "198.51.100.7"),
        ("10.0.0.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.0.0.1", ["198.51.100.7, nonsense"], "10.0.0.1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("2001:db8:ffff::1", ["::ffff:192.0.2.5"], "192.0.2.5"),
        ("", ["198.51.100.7"], "198.51.100.7"),
        (None, [], "127.0.0.1"),
    ],
)
def test_the_nearest_address_that_no_trusted_proxy_has(
    peer: str | None, forwarded: list[str], found: str
) -> None:
    assert str(find_address(peer, forwarded, TRUSTED)) == found


def test_without_trusted_proxies_nobody_is_believed() -> None:
    assert str(find_address("127.0.0.1", ["198.51.100.7"], ())) == "127.0.0.1"
