"""What can go wrong in a way that a person can mend. Knows no process, no file and no socket.

Fault
├── BadUsage           the command line asks for something that cannot be
├── BadConfiguration   config.toml cannot be used
├── AlreadyRunning     another `precis` runs this stack
├── NotRunning         the command needs a running stack, and nothing answers
├── PartFailed         a part does not start, or the program that it needs is not to be had
├── RequestFailed      the service refused a request, or could not do it
└── OutputLost         a result is there, and could not be printed
"""

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 69  # these four of sysexits.h
EXIT_SOFTWARE = 70
EXIT_OUTPUT = 74
EXIT_CONFIG = 78
EXIT_INTERRUPTED = 130


class Fault(Exception):
    """Ends the command with one sentence that says what to do, and no traceback. `lines` are shown above
    it."""

    exit_code = EXIT_FAILED

    def __init__(self, code: str, message: str, *, lines: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.lines = lines


class BadUsage(Fault):
    exit_code = EXIT_USAGE


class BadConfiguration(Fault):
    exit_code = EXIT_CONFIG


class AlreadyRunning(Fault):
    pass


class NotRunning(Fault):
    exit_code = EXIT_UNAVAILABLE


class PartFailed(Fault):
    pass


class RequestFailed(Fault):
    """`code` and `message` are the service's own. `status` is HTTP's, 0 for a request that ran and failed."""

    def __init__(self, code: str, message: str, *, status: int = 0) -> None:
        super().__init__(code, message)
        self.status = status


class OutputLost(Fault):
    exit_code = EXIT_OUTPUT
