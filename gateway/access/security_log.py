"""Write the security log: failed sign-ins, refused access, revocations and privileged reads.

| kind | reports |
|---|---|
| ``sign-in-failed`` | a token or cookie that is forged, damaged, expired or revoked |
| ``access-refused`` | no token; a forbidden role or origin; another client's photo or room |
| ``revocation`` | a revocation that this gateway has seen |
| ``signed-in`` | a person who signed in at an OpenID provider, with the name in events |
| ``privileged-read`` | an operator or auditor who read the data of clients |

A page of the console reads many thumbnails: those that a principal reads within ``LOOK_S`` share
lines, which name the photos.

Each line has the fields of ``Noted``. For each kind and source, at most ``Limits.security_lines``
lines are written a minute; one line at the end of the minute counts the others. Beyond
``Limits.security_sources`` sources a minute, all others count as one, so that a crowd of addresses
fills neither memory nor disk.
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

Kind = Literal["sign-in-failed", "access-refused", "revocation", "signed-in", "privileged-read"]

WINDOW_S = 60.0
LOOK_S = 5.0
"""How often to look for minutes that have ended, and to write which thumbnails were read."""

THUMBNAILS = "/api/photos/{photo_id}/thumbnails"
PHOTOS_MAX = 50
"""The most photos of a line; a page of the console shows fewer."""

OTHERS = "others"
"""Stands for all sources beyond ``Limits.security_sources``."""

PATH_MAX = 200
"""The most characters of a path in a line."""

REVOKED = ".revoked"
"""The end of the types of events that revoke a permission."""

_LEVELS: dict[Kind, int] = {"privileged-read": logging.INFO, "signed-in": logging.INFO}
_REFUSALS = frozenset({"forbidden", "cross-origin"})
_OF_CLIENTS = ("/api/photos", "/api/jobs", "/api/sessions", "/api/events", "/api/ops/dead-letters")
_SAFE = ("GET", "HEAD")
_SHOWN_PARAMETERS = ("room", "clientId")
"""Query parameters that a line shows, because they say whose data it is; others may be secret."""

_IDENTITY_PATH = "/api/login"
"""A browser without a token asks here whether it is signed in; that is not refused access."""


class Noted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of a line; unknown ones are empty and left out.

    ``token`` is the id of the token, or that of the API key after ``key-``; ``client`` and ``role``
    are those of its principal. ``address`` is that of the peer, or of the client that a trusted
    proxy names. ``photos`` are the ids of those whose thumbnails were read, with commas.
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
    photos: str = ""


class _Thumbnails(msgspec.Struct, kw_only=True):
    """The ids of photos whose thumbnails a principal has read; the rest is of the first request."""

    noted: Noted
    source: str
    trace: str
    photos: dict[str, None]


class _Window(msgspec.Struct, kw_only=True):
    """The lines of one kind and source in a minute: ``written``, and ``more`` only counted."""

    began: float
    written: int = 0
    more: int = 0


class SecurityLog:
    """The security log of one gateway."""

    def __init__(self, limits: Limits, background: Background) -> None:
        self._limits = limits
        self._background = background
        self._windows: dict[tuple[Kind, str], _Window] = {}
        self._thumbnails: dict[tuple[str, Principal], _Thumbnails] = {}

    @property
    def windows(self) -> int:
        """Return the number of kinds and sources that are distinguished now."""
        return len(self._windows)

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Write the counts of ended minutes while the block runs: a lifespan of the application."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._background.keep, "security-log", self._run)
            yield
            tasks.cancel_scope.cancel()
        self.tell_thumbnails()
        self.count_up(time.monotonic() + WINDOW_S)

    def refused(self, scope: Any, error: Exception) -> None:
        """Note an error that refuses access; ignore all others."""
        match error:
            case AuthError(code="missing-token"):
                if scope["path"] != _IDENTITY_PATH:
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
        """Note an answer that gave an operator or auditor the data of clients."""
        route = scope.get("path_template", "")
        if scope["method"] not in _SAFE or status >= 400 or not route.startswith(_OF_CLIENTS):
            return
        if route.startswith(THUMBNAILS):
            self._saw(scope, scope["path_params"]["photo_id"])
        else:
            self.entered(scope, _path(scope))

    def entered(self, scope: Any, what: str) -> None:
        """Note that an operator or auditor reads ``what``: a path or a room."""
        if _principal(scope).role is not Role.CLIENT:
            self._note("privileged-read", scope, path=what)

    def _saw(self, scope: Any, photo_id: str) -> None:
        """Note, later, that an operator or auditor has read a thumbnail of the photo."""
        principal = _principal(scope)
        if principal.role is Role.CLIENT:
            return
        key = address_of(scope), principal
        if key not in self._thumbnails:
            if len(self._thumbnails) >= self._limits.security_sources:
                self.tell_thumbnails()
            self._thumbnails[key] = _Thumbnails(
                noted=_noted(scope, path=THUMBNAILS),
                source=source_of(scope),
                trace=trace_id(scope),
                photos={},
            )
        seen = self._thumbnails[key]
        seen.photos[photo_id] = None
        if len(seen.photos) >= PHOTOS_MAX:
            self._tell(self._thumbnails.pop(key))

    def tell_thumbnails(self) -> None:
        """Write which thumbnails were read since the last call."""
        while self._thumbnails:
            self._tell(self._thumbnails.pop(next(iter(self._thumbnails))))

    def _tell(self, seen: _Thumbnails) -> None:
        noted = msgspec.structs.replace(seen.noted, photos=",".join(seen.photos))
        self._limited("privileged-read", seen.source, noted, seen.trace)

    def signed_in(self, scope: Any, principal: Principal) -> None:
        """Note a person who signed in at an OpenID provider."""
        noted = Noted(
            address=address_of(scope),
            client=principal.client_id,
            role=principal.role.value,
            token=principal.token_id or "",
            actor=principal.actor,
        )
        self._limited("signed-in", source_of(scope), noted, trace_id(scope))

    def happened(self, entry: HistoryEntry) -> None:
        """Note an event that revokes a permission."""
        if not entry.type.endswith(REVOKED):
            return
        event: dict[str, Any] = msgspec.json.decode(entry.body)
        metadata, data = event["metadata"], event["data"]
        noted = Noted(
            actor=metadata["actor"],
            token=data.get("tokenId") or _key_name(data.get("keyId")),
            client=data.get("clientId") or "",
            before=data.get("before") or "",
        )
        self._limited("revocation", entry.type, noted, metadata["traceId"])

    def _note(self, kind: Kind, scope: Any, code: str = "", *, path: str = "") -> None:
        self._limited(kind, source_of(scope), _noted(scope, code, path), trace_id(scope))

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
            self.tell_thumbnails()
            self.count_up(time.monotonic())

    def count_up(self, now: float) -> None:
        """Write the counts of the minutes that ended before ``now``, a monotonic time."""
        # The windows are ordered by their beginning.
        for key, window in list(self._windows.items()):
            if now - window.began < WINDOW_S:
                return
            del self._windows[key]
            if window.more:
                kind, source = key
                text = f"{kind}: {window.more:,} more within {WINDOW_S:.0f} s"
                _write(kind, text, Noted(address=source))


def _noted(scope: Any, code: str = "", path: str = "") -> Noted:
    principal = _principal(scope)
    return Noted(
        address=address_of(scope),
        client=principal.client_id,
        role=principal.role.value if principal.client_id else "",
        token=principal.token_id or "",
        method=scope.get("method", "WS"),
        path=(path or _path(scope))[:PATH_MAX],
        code=code,
    )


def _write(kind: Kind, text: str, noted: Noted, trace: str = "") -> None:
    fields = {"kind": kind, **msgspec.to_builtins(noted)}
    about = {"subject": Subject(trace_id=trace), "fields": fields}
    logger.log(_LEVELS.get(kind, logging.WARNING), "%s", text, extra=about)


_NOBODY = Principal(client_id="")


def _principal(scope: Any) -> Principal:
    found = scope.get("user")
    return found if isinstance(found, Principal) else _NOBODY


def _key_name(key_id: str | None) -> str:
    return f"key-{key_id}" if key_id else ""


def _path(scope: Any) -> str:
    """Return the path with the query parameters that say whose data it is."""
    query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
    shown = [f"{name}={value}" for name, value in query if name in _SHOWN_PARAMETERS]
    return "?".join([scope["path"], *(["&".join(shown)] if shown else [])])
