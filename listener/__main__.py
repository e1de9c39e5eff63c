"""The command `listener work|events|engine`: picks the service and its settings. `--check` prints these and
ends."""

import sys
from collections.abc import Sequence
from logging import WARNING, getLogger

from chassis import logging
from chassis.service import EXIT_USAGE, run, settings_or_exit

USAGE = """\
usage: listener work   [--check]  run requests against model servers
       listener events [--check]  push changes to browsers
       listener engine [--check]  the built-in extractive engine behind Ollama's interface"""


def main() -> int:
    """The exit code of the service that was named."""
    services = {"work": _work, "events": _events, "engine": _engine}
    if len(sys.argv) < 2 or sys.argv[1] not in services:
        print(USAGE, file=sys.stderr)
        return EXIT_USAGE
    return services[sys.argv[1]](sys.argv[2:])


# Each service is imported only where it runs: none pays for the others' memory.


def _work(arguments: Sequence[str]) -> int:
    from listener.work.service import main
    from listener.work.settings import WorkSettings

    settings = settings_or_exit(WorkSettings, arguments)
    logging.configure("listener work", level=settings.log_level, format=settings.log_format)
    getLogger("httpx").setLevel(WARNING)  # it tells of each call
    return run(lambda lifecycle: main(lifecycle, settings))


def _events(arguments: Sequence[str]) -> int:
    from listener.events.service import main
    from listener.events.settings import EventsSettings

    settings = settings_or_exit(EventsSettings, arguments)
    logging.configure("listener events", level=settings.log_level, format=settings.log_format)
    return run(lambda lifecycle: main(lifecycle, settings))


def _engine(arguments: Sequence[str]) -> int:
    from listener.engine.service import main
    from listener.engine.settings import EngineSettings

    settings = settings_or_exit(EngineSettings, arguments)
    logging.configure("listener engine", level=settings.log_level, format=settings.log_format)
    return run(lambda lifecycle: main(lifecycle, settings))


if __name__ == "__main__":
    sys.exit(main())
