"""Where the command starts. It loads the rest late, so that an interrupt while that is read from the disk is
no traceback."""

import signal
import sys

from precis import streams


def main() -> int:
    streams.make_usable()
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not under nohup
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from precis import command_line, endings

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = endings.told(command_line.run)
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(main())
