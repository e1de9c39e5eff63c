"""The one error of the engine: an answer that is not a success, in Ollama's shape."""


class Refusal(Exception):
    """A call that is answered with a status and `{"error": message}`."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
