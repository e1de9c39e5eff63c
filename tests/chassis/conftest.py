"""Wires the fixtures that only these tests use."""

from tests.chassis.fix_replicas import own_pair, pair, server

__all__ = ["own_pair", "pair", "server"]
