"""Why an attempt at a request ended, as a stable code for machines and a sentence for people. What each code
means for the request and for the model server stands in listener/model/rulings.py.

ListenerError
└── TaskError              an attempt ended without a result: code, message
    ├── TransientError     may pass: tried again, and counted as an attempt
    │   └── UnreachableError   the model server takes no calls at its address
    ├── NoSlotError        there is no slot for it here after all: handed back, not counted
    ├── CapacityError      the model server is busy: tried again, not counted
    └── PermanentError     will not pass: the request has failed
"""


class ListenerError(Exception):
    """Root of everything the listener raises on purpose."""


class TaskError(ListenerError):
    """`code` is stable; `message` tells the person who asked what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class TransientError(TaskError):
    """Trying again may help."""


class UnreachableError(TransientError):
    """The model server takes no calls at its address: no use in asking it before it answers a look."""


class CapacityError(TaskError):
    """The model server works, but has too much to do: for so many seconds, if it has said so."""

    def __init__(self, code: str, message: str, *, retry_after_seconds: float = 0.0) -> None:
        super().__init__(code, message)
        self.retry_after_seconds = retry_after_seconds


class NoSlotError(TaskError):
    """No call was made: the slot that the attempt waited for will not be vacated soon."""

    def __init__(self) -> None:
        super().__init__("no_slot", "The model is taken; it is tried again by itself.")


class PermanentError(TaskError):
    """Trying again gives the same."""
