"""Wires the fixtures that only these tests use."""

from tests.authsvc.fix_service import service, stops_at_once

__all__ = ["service", "stops_at_once"]
