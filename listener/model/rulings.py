"""The one table of what can end an attempt without a result: whose fault it is, whether it is tried again,
whether that counts, and the sentence for the person who asked.

Decisions only; knows no server and no text. No sentence holds an address of ours, nor a word of a server's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from listener.errors import CapacityError, PermanentError, TaskError, TransientError, UnreachableError

# host: no text can cause it. either: the server, or what this text made of it; only failures of several
# people's requests tell. request: what the model made of this text. engine, ours: a fault in Precis, which
# this text has shown.
Whose = Literal["host", "either", "request", "engine", "ours"]

TRY_LATER = "Nothing is wrong with the request; it is tried again by itself."
TRIED_AGAIN = "it is tried again by itself."
SHORTER = " Choose a model with a longer context (GET /models lists them), or send the text in parts."
OTHER_MODEL = " Choose another model: GET /models lists them."


@dataclass(frozen=True, slots=True)
class Ruling:
    """`kind` says what becomes of the request: TransientError is tried again and counted, CapacityError tried
    again and not counted, PermanentError fails at once."""

    whose: Whose
    kind: type[TaskError]
    message: str

    @property
    def again(self) -> bool:
        """Whether the request is tried again."""
        return not issubclass(self.kind, PermanentError)

    @property
    def counted(self) -> bool:
        """Whether that costs one of its attempts."""
        return issubclass(self.kind, TransientError)


RULINGS: Mapping[str, Ruling] = {
    # The server's address
    "model_unreachable": Ruling(
        "host", UnreachableError, f"The model server takes no connection. {TRY_LATER}"
    ),
    "model_unresolved": Ruling(
        "host", UnreachableError, f"The name of the model server cannot be found. {TRY_LATER}"
    ),
    "model_untrusted": Ruling(
        "host",
        UnreachableError,
        "No safe connection to the model server can be made, so the text was not sent: its operator must mend"
        f" its certificate. {TRY_LATER}",
    ),
    "model_moved": Ruling(
        "host",
        UnreachableError,
        "The model server points to another address, where no text is sent unless the operator of this"
        f" service enters it. {TRY_LATER}",
    ),
    # The server
    "model_busy": Ruling("host", CapacityError, f"The model server has too much to do. {TRY_LATER}"),
    "model_resting": Ruling(
        "host", CapacityError, f"The model server is being tried out after a failure. {TRY_LATER}"
    ),
    "model_unavailable": Ruling("host", TransientError, f"The model server is out of service. {TRY_LATER}"),
    "model_not_found": Ruling(
        "host", PermanentError, f"The model server no longer has this model.{OTHER_MODEL}"
    ),
    "model_out_of_memory": Ruling(
        "host",
        PermanentError,
        "The model server has too little memory for this model. Choose a smaller one.",
    ),
    "model_forbidden": Ruling(
        "host",
        PermanentError,
        f"The model server asks for credentials that this service does not have.{OTHER_MODEL}",
    ),
    # The server, or the text
    "model_failed": Ruling("either", TransientError, f"The model failed at this request; {TRIED_AGAIN}"),
    "model_timeout": Ruling(
        "either", TransientError, f"The model did not begin to answer in time; {TRIED_AGAIN}"
    ),
    "model_stalled": Ruling(
        "either", TransientError, f"The model stopped in the middle of its answer; {TRIED_AGAIN}"
    ),
    "stream_broken": Ruling(
        "either", TransientError, f"The model server broke off its answer; {TRIED_AGAIN}"
    ),
    "answer_incomplete": Ruling(
        "either", TransientError, f"The model server ended its answer in the middle; {TRIED_AGAIN}"
    ),
    "deadline_exceeded": Ruling(
        "either", TransientError, f"The model did not come to an end in time; {TRIED_AGAIN}"
    ),
    # What the model made of this text
    "answer_unreadable": Ruling(
        "request", TransientError, f"The model server's answer made no sense; {TRIED_AGAIN}"
    ),
    "answer_empty": Ruling("request", TransientError, f"The model answered with nothing; {TRIED_AGAIN}"),
    "answer_loops": Ruling(
        "request", TransientError, f"The model began to repeat itself without end; {TRIED_AGAIN}"
    ),
    "answer_too_long": Ruling(
        "request",
        TransientError,
        f"The model's answer was many times longer than was asked for; {TRIED_AGAIN}",
    ),
    "input_too_long": Ruling(
        "request",
        PermanentError,
        f"The text is too long for this model: the model server left out a part of it.{SHORTER}",
    ),
    "model_refused": Ruling(
        "request", PermanentError, f"The model server refuses this request.{OTHER_MODEL}"
    ),
    "text_too_costly": Ruling(
        "request",
        PermanentError,
        "To read this text takes more processor time or memory than this server allows for one text."
        " Send it in parts, or take out what is no prose: encoded data, tables, generated lines.",
    ),
    # Ours
    "engine_failed": Ruling(
        "engine",
        PermanentError,
        "The built-in engine failed at this text, and would fail again: a fault in Precis, not in the text."
        f" Tell the operator of this service.{OTHER_MODEL}",
    ),
    "worker_stalled": Ruling(
        "ours",
        TransientError,
        f"The worker came to a standstill while it ran this request; {TRIED_AGAIN}",
    ),
    "internal": Ruling("ours", TransientError, f"Something went wrong on the server; {TRIED_AGAIN}"),
}


def rule(code: str) -> TaskError:
    """The error of that code, to be raised."""
    ruling = RULINGS[code]
    return ruling.kind(code, ruling.message)
