"""The program `authsvc`: serves, or prints its settings (--check), or does an operator's errand.

Errands: `rotate-keys`, and `unblock EMAIL`. Knows no part of the service.
"""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import asyncpg

from authsvc import app, commands
from authsvc.errors import AuthError
from authsvc.settings import Settings
from chassis import logging
from chassis.errors import StartError
from chassis.service import EXIT_FAILURE, run, settings_or_exit


def main() -> int:
    match sys.argv[1:]:
        case ["rotate-keys"]:
            return _command(commands.rotate_keys(settings_or_exit(Settings, [])))
        case ["unblock", email]:
            return _command(commands.unblock(settings_or_exit(Settings, []), email))
        case arguments:
            settings = settings_or_exit(Settings, arguments)
    logging.configure("authsvc", level=settings.log_level, format=settings.log_format)
    return run(lambda lifecycle: app.main(lifecycle, settings))


def _command(work: Coroutine[Any, Any, str]) -> int:
    """Run it, say what it did, or why it could not."""
    try:
        print(asyncio.run(work))
    except AuthError as error:
        print(error.body["message"], file=sys.stderr)
    except (StartError, asyncpg.PostgresError, OSError) as error:
        print(error, file=sys.stderr)
    else:
        return 0
    return EXIT_FAILURE


if __name__ == "__main__":
    raise SystemExit(main())
