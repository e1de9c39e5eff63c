"""How a piece of work on a text can end without a result.

OffloadError
├── TooCostlyError   it took more processor time, memory or time than its budget allows
├── BrokenOffError   its process died of something else: killed from outside, a crash
└── RaisedError      it raised, which is a mistake of ours
"""


class OffloadError(Exception):
    """Root of what a piece of work in a child process ends with."""


class TooCostlyError(OffloadError):
    """`what` ran out: cpu, memory or time. Tried again it would run out again."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class BrokenOffError(OffloadError):
    """`code` is the process's exit code, below 0 a signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class RaisedError(OffloadError):
    """`kind` names the exception, `where` are the lines of code. Not its message: that may quote the text."""

    def __init__(self, kind: str, where: str) -> None:
        super().__init__(f"{kind}\n{where}")
        self.kind = kind
        self.where = where
