"""The life of a request against a real Ollama that serves a tiny generated model."""

import pytest

from tests.fix_postgres import Database
from tests.fix_stack import running_stack
from tests.stack.client import story

pytestmark = [pytest.mark.stack, pytest.mark.ollama]
