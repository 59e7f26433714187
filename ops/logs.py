"""How a process of ours writes its log: lines on standard error, each with the role's name.

A line says what it is about, as far as that is known: the ids of the photo, the job and the trace.
They are those of ``subject`` in the record's ``extra``, or else of what the running task works on.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from types import TracebackType

from ops.settings import Settings
from store import subject
from store.subject import Subject


class _Text(logging.Formatter):
    def __init__(self, role: str) -> None:
        super().__init__(f"%(asctime)s {role:<10} %(levelname)-7s %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 # of logging
        ids = (f" {name}={value}" for name, value in _ids(record).items())
        return super().formatMessage(record) + "".join(ids)


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
            **_ids(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _ids(record: logging.LogRecord) -> dict[str, str]:
    about: Subject = getattr(record, "subject", None) or subject.current()
    ids = {"photo": about.photo_id, "job": about.job_id, "trace": about.trace_id}
    return {name: value for name, value in ids.items() if value}


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
    starting.setLevel(logging.NOTSET if quiet else logging.INFO)

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            logging.getLogger("photolog").critical("ended by a bug", exc_info=(kind, error, trace))

    sys.excepthook = uncaught
