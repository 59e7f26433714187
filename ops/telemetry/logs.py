"""Write the log of a process: lines on standard error, each with the role's name.

A line carries the ids of the photo, the job and the trace that it is about, as far as they are
known. They come from ``subject`` in the record's ``extra``, or else from the context of the running
task. ``fields`` in the ``extra`` are further values of the line, by name.

Control characters are escaped, in text and in JSON: nothing that a user sent can manipulate the
terminal that shows the log.
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
        # Text after a line break in a message must not look like a line of its own.
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
    """Quote the value if its end would otherwise be ambiguous."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)


starting = logging.getLogger("photolog.start")
"""Start messages of a process that runs on its own, written whatever the level."""


progress = logging.getLogger("photolog.progress")
"""Progress of a slow start, written whatever the level."""


def configure(settings: Settings, role: str, *, quiet: bool = True) -> None:
    """Send all logging of this process, and uncaught errors, to standard error.

    ``quiet`` leaves out the messages of ``starting``.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Json(role) if settings.log_format == "json" else _Text(role))
    logging.basicConfig(handlers=[handler], level=settings.log_level.upper(), force=True)
    # It logs each retry; the caller logs the outcome.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # Security events are written whatever the level.
    logging.getLogger(SECURITY).setLevel(logging.INFO)
    progress.setLevel(logging.INFO)
    starting.setLevel(logging.NOTSET if quiet else logging.INFO)

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logging.getLogger("photolog").critical(
                "an unexpected error ended this process", exc_info=(kind, error, trace)
            )

    sys.excepthook = uncaught
