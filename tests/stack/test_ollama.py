"""The life of a request against a real Ollama that serves a tiny generated model."""

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.ollama]
