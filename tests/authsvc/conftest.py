"""Wires the fixtures that only these tests use."""

from tests.authsvc.fix_service import service

__all__ = ["service"]
