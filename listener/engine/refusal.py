"""The one error of the engine: an answer that is not a success, in Ollama's shape."""

# The code of a call at which the engine itself has failed. It would fail again.
ENGINE_FAILED = "engine_failed"


class Refusal(Exception):
    """A call that is answered with a status and `{"error": message}`, and a code for our own listener."""

    def __init__(self, status: int, message: str, *, code: str = "") -> None:
        super().__init__(status, message)  # both: it comes out of child processes
        self.status = status
        self.message = message
        self.code = code
