"""precis.setup.ports: loopback ports for a checkout."""

import itertools
import socket

from precis.setup.ports import BLOCK, free_ports, is_free, port_of


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_mark_always_gets_the_same_ports_and_another_mark_others() -> None:
    def block(mark: str) -> list[int]:
        return list(itertools.islice(free_ports(mark), BLOCK))

    assert block("abcd") == block("abcd")
    assert not set(block("abcd")) & set(block("abce"))


def test_a_taken_port_is_passed_over() -> None:
    first = next(free_ports("1234"))
    with socket.create_server(("127.0.0.1", first)):
        assert next(free_ports("1234")) != first


def test_the_port_is_read_from_an_address_and_a_unix_path_has_none() -> None:
    assert (port_of("127.0.0.1:80"), port_of("[::1]:81"), port_of("unix:/run/x:1")) == (80, 81, None)
