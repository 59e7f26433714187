"""How a process of ours writes its log: lines on standard error, each with the role's name.

A line says what it is about, as far as that is known: the ids of the photo, the job and the trace.
They are those of ``subject`` in the record's ``extra``, or else of what the running task works on.
``fields`` in the ``extra`` are further values of the line, by name.

Whatever a line repeats of a user's, it has no control characters: neither text nor JSON can play
tricks on the terminal that shows it.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from types import TracebackType

from ops.config.settings import Settings
from ops.event_format import printable, printable_json
from store import log_context
from store.log_context import Subject

SECURITY = "photolog.security"

_PLAIN = re.compile(r"[^\s\"=]+")


class _Text(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__(f"%(asctime)s {role:<10} %(levelname)-7s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # of logging
        values = {**_fields(record), **_ids(record)}
        named = (f" {name}={_quoted(value)}" for name, value in values.items() if name != "kind")
        # A line break in a message must not begin what looks like a line of its own.
        return super().formatMessage(record).replace("\n", "\n    ") + "".join(named)


class _Json(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "role": self._role,
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
            **_ids(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return printable_json(json.dumps(line, ensure_ascii=False))


def _ids(record: logging.LogRecord) -> dict[str, str]:
    about: Subject = getattr(record, "subject", None) or log_context.current()
    ids = {"photo": about.photo_id, "job": about.job_id, "trace": about.trace_id}
    return {name: value for name, value in ids.items() if value}


def _fields(record: logging.LogRecord) -> dict[str, str]:
    fields: dict[str, str] = getattr(record, "fields", {})
    return fields


def _quoted(value: str) -> str:
    """In quotes where the value would not end by itself."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


starting = logging.getLogger("photolog.start")
"""For what a process that was started by itself has to say at its start, whatever the level."""


def configure(settings: Settings, role: str, *, quiet: bool = True) -> None:
    """Send all logging of this process, and an error that nobody caught, to standard error.

    Unless it is ``quiet`` that includes what ``starting`` has to say.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(role) if settings.log_format == "json" else _Text(role))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # It tells of each try that it makes again; what comes of them is told by whoever asked.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # What happened to the security of the system is written whatever the level.
    logging.getLogger(SECURITY).setLevel(logging.INFO)
    starting.setLevel(logging.NOTSET if quiet else logging.INFO)

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logging.getLogger("photolog").critical("ended by a bug", exc_info=(kind, error, trace))

    sys.excepthook = uncaught
