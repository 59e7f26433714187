"""The security log: failed sign-ins, refused access, revocations, and what the privileged read.

| kind | what it tells of |
|---|---|
| ``sign-in-failed`` | a token or cookie that is forged, damaged, expired or revoked |
| ``access-refused`` | no token; a role or an origin that may not; another client's photo or room |
| ``revocation`` | a revocation that this gateway has taken note of |
| ``privileged-read`` | an operator or auditor who got what belongs to clients |

Each line has the fields of ``Noted``. Of one kind and source, ``Limits.security_lines`` are written
a minute; the others are counted, and the count is one line at the minute's end. Beyond
``Limits.security_sources`` sources a minute all others count as one: a crowd of addresses costs
neither memory nor disk.
"""

import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import parse_qsl

import anyio
import msgspec

from gateway.http.auth import AuthError, Forbidden, Principal, Role
from gateway.http.limits import Limits
from gateway.http.peer import address_of, source_of
from gateway.http.problems import Refused
from gateway.http.tracing import trace_id
from projections.models.history import HistoryEntry
from store.background import Background
from store.log_context import Subject

logger = logging.getLogger("photolog.security")

Kind = Literal["sign-in-failed", "access-refused", "revocation", "privileged-read"]

WINDOW_S = 60.0
LOOK_S = 5.0
"""How often minutes that have ended are looked for."""

OTHERS = "others"
"""Stands for the sources that no window is left for."""

PATH_MAX = 200
"""Characters of a path that a line repeats."""

REVOKED = ".revoked"
"""Ends the type of an event that takes a permission away."""

_LEVELS: dict[Kind, int] = {"privileged-read": logging.INFO}
_REFUSALS = frozenset({"forbidden", "cross-origin"})
_OF_CLIENTS = ("/api/photos", "/api/jobs", "/api/sessions", "/api/events", "/api/ops/dead-letters")
_SAFE = ("GET", "HEAD")
_SHOWN_PARAMETERS = ("room", "clientId")
"""Query parameters that a line repeats: they say whose data it is. Others may be secret."""

_ASKS_WHO_IT_IS = "/api/login"
"""A browser that has no token finds that out here: nothing was refused to it."""


class Noted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a line tells, as far as it is known; an empty field is left out.

    ``token`` is the token's id, ``client`` and ``role`` those of its principal. ``address`` is the
    peer's, or that of the client that a trusted proxy names.
    """

    address: str = ""
    client: str = ""
    role: str = ""
    token: str = ""
    method: str = ""
    path: str = ""
    code: str = ""
    actor: str = ""
    before: str = ""


class _Window(msgspec.Struct, kw_only=True):
    """A minute of one kind and source."""

    began: float
    written: int = 0
    more: int = 0


class SecurityLog:
    """The security log of one gateway."""

    def __init__(self, limits: Limits, background: Background) -> None:
        self._limits = limits
        self._background = background
        self._windows: dict[tuple[Kind, str], _Window] = {}

    @property
    def windows(self) -> int:
        """How many kinds and sources are told apart just now."""
        return len(self._windows)

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Write the counts of the minutes inside the block: a part of an application's lifespan."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "security-log", self._run)
            yield
            tasks.cancel_scope.cancel()
        self.count_up(time.monotonic() + WINDOW_S)

    def refused(self, scope: Any, error: Exception) -> None:
        """Note an error that refuses access; any other is nothing to this log."""
        match error:
            case AuthError(code="missing-token"):
                if scope["path"] != _ASKS_WHO_IT_IS:
                    self._note("access-refused", scope, error.code)
            case AuthError():
                self._note("sign-in-failed", scope, error.code)
            case Forbidden():
                self._note("access-refused", scope, error.code)
            case Refused() if error.trespass or error.code in _REFUSALS:
                self._note("access-refused", scope, error.code)
            case _:
                pass

    def answered(self, scope: Any, status: int) -> None:
        """Note an answer that gave an operator or auditor what belongs to clients."""
        route = scope.get("path_template", "")
        if scope["method"] in _SAFE and status < 400 and route.startswith(_OF_CLIENTS):
            self.entered(scope, _path(scope))

    def entered(self, scope: Any, what: str) -> None:
        """Note that an operator or auditor reads ``what``, a path or a room."""
        if _principal(scope).role is not Role.CLIENT:
            self._note("privileged-read", scope, path=what)

    def happened(self, entry: HistoryEntry) -> None:
        """Note an event that revokes something."""
        if not entry.type.endswith(REVOKED):
            return
        event: dict[str, Any] = msgspec.json.decode(entry.body)
        metadata, data = event["metadata"], event["data"]
        noted = Noted(
            actor=metadata["actor"],
            token=data.get("tokenId") or "",
            client=data.get("clientId") or "",
            before=data.get("before") or "",
        )
        self._limited("revocation", entry.type, noted, metadata["traceId"])

    def _note(self, kind: Kind, scope: Any, code: str = "", *, path: str = "") -> None:
        principal = _principal(scope)
        noted = Noted(
            address=address_of(scope),
            client=principal.client_id,
            role=principal.role.value if principal.client_id else "",
            token=principal.token_id or "",
            method=scope.get("method", "WS"),
            path=(path or _path(scope))[:PATH_MAX],
            code=code,
        )
        self._limited(kind, source_of(scope), noted, trace_id(scope))

    def _limited(self, kind: Kind, source: str, noted: Noted, trace: str) -> None:
        window = self._window(kind, source)
        if window.written >= self._limits.security_lines:
            window.more += 1
            return
        window.written += 1
        _write(kind, kind, noted, trace)

    def _window(self, kind: Kind, source: str) -> _Window:
        now = time.monotonic()
        key = (kind, source)
        if (found := self._windows.get(key)) and now - found.began < WINDOW_S:
            return found
        self.count_up(now)
        if len(self._windows) >= self._limits.security_sources:
            key = (kind, OTHERS)
        return self._windows.setdefault(key, _Window(began=now))

    async def _run(self) -> None:
        while True:
            await anyio.sleep(LOOK_S)
            self.count_up(time.monotonic())

    def count_up(self, now: float) -> None:
        """Write the counts of the minutes that have ended; ``now`` is monotonic."""
        # The windows stand in the order in which they began.
        for key, window in list(self._windows.items()):
            if now - window.began < WINDOW_S:
                return
            del self._windows[key]
            if window.more:
                kind, source = key
                text = f"{kind}: {window.more:,} more within {WINDOW_S:.0f} s"
                _write(kind, text, Noted(address=source))


def _write(kind: Kind, text: str, noted: Noted, trace: str = "") -> None:
    fields = {"kind": kind, **msgspec.to_builtins(noted)}
    about = {"subject": Subject(trace_id=trace), "fields": fields}
    logger.log(_LEVELS.get(kind, logging.WARNING), "%s", text, extra=about)


_NOBODY = Principal(client_id="")


def _principal(scope: Any) -> Principal:
    found = scope.get("user")
    return found if isinstance(found, Principal) else _NOBODY


def _path(scope: Any) -> str:
    """The path, with the query parameters that say whose data it is."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    shown = [f"{name}={value}" for name, value in query if name in _SHOWN_PARAMETERS]
    return "?".join([scope["path"], *(["&".join(shown)] if shown else [])])
