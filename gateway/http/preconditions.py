"""Evaluate the preconditions of conditional requests (RFC 9110, section 13).

The preconditions of a GET or HEAD are compared with the validators of its own answer, whatever the
route: a false one turns a 2xx answer into 304 or 412. Those of a command on a photo are compared
with the state on which the command is decided, so that no other command can intervene; see
``gateway.commands``. Those of any other command are evaluated before its body is read.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal, Self

import msgspec
from litestar import Request
from litestar.types import Message, Send

from gateway.http.envelope import methods_at
from gateway.http.problems import MEDIA_TYPE, Refused, document
from gateway.http.tracing import trace_id
from store.log.log import Requirement
from store.log.outcome import Loaded
from store.log.position import Position

Verdict = Literal["proceed", "not-modified", "failed"]

CONDITIONAL = "conditional"
"""The key in a route's ``opt`` that marks a route which evaluates preconditions itself."""

_SAFE = ("GET", "HEAD")
_NOT_EVALUATED = ("OPTIONS", "TRACE", "CONNECT")  # section 13.2.1

# Section 8.8.3. Bytes above 0x7f are obs-text; headers are decoded as Latin-1.
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>[0-5]\d|60)"
# Section 5.6.7: the preferred form, and the two obsolete forms that a recipient must accept.
_DATES = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"{_DAY}, (?P<day>\d\d) {_MONTH} (?P<year>\d{{4}}) {_CLOCK} GMT",
        rf"{_LONG_DAY}, (?P<day>\d\d)-{_MONTH}-(?P<year>\d\d) {_CLOCK} GMT",
        rf"{_DAY} {_MONTH} (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    )
)
_AHEAD = timedelta(days=50 * 365.25)
"""A two-digit year that would be further ahead than this belongs to the last century."""

_BODY_HEADERS = frozenset(
    {b"content-length", b"content-type", b"content-range", b"content-disposition"}
)


class Current(msgspec.Struct, frozen=True, kw_only=True):
    """The validators of a resource's current representation; None for those it lacks.

    ``modified`` is in whole seconds since 1970, the resolution of HTTP dates.
    """

    etag: str | None = None
    modified: int | None = None

    def headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        if self.etag is not None:
            headers["ETag"] = self.etag
        if self.modified is not None:
            headers["Last-Modified"] = http_date(self.modified)
        return headers


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """The preconditions of one request; None for each missing header."""

    method: str
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None

    @classmethod
    def of(cls, scope: Any) -> Self | None:
        """Return the preconditions of the request; None if it has none to evaluate."""
        if scope["method"] in _NOT_EVALUATED:
            return None
        values: dict[bytes, str] = {}
        for name, value in scope["headers"]:
            if name.startswith(b"if-"):
                text = value.decode("latin-1")
                values[name] = f"{values[name]}, {text}" if name in values else text
        found = cls(
            method=scope["method"],
            if_match=values.get(b"if-match"),
            if_none_match=values.get(b"if-none-match"),
            if_modified_since=parse_date(values.get(b"if-modified-since")),
            if_unmodified_since=parse_date(values.get(b"if-unmodified-since")),
        )
        return None if found == cls(method=scope["method"]) else found

    def evaluate(self, current: Current | None) -> Verdict:
        """Evaluate in the order of section 13.2.2; ``current`` is None without a representation."""
        modified = current.modified if current else None
        if self.if_match is not None:
            if not _matches(self.if_match, current, strongly=True):
                return "failed"
        elif _is_later(modified, self.if_unmodified_since):
            return "failed"
        if self.if_none_match is not None:
            if _matches(self.if_none_match, current, strongly=False):
                return "not-modified" if self.method in _SAFE else "failed"
        elif self.method in _SAFE and _is_not_later(modified, self.if_modified_since):
            return "not-modified"
        return "proceed"

    def require(self, current: Current | None) -> None:
        """Raise Refused, ``precondition-failed``, if the command must not be performed."""
        if self.evaluate(current) == "failed":
            raise precondition_failed()


def of_photo(version: int, position: Position) -> Current:
    """Return the validators of a photo, which change with each of its events and nothing else."""
    return Current(etag=f'"{version}-{position.entry_id}"', modified=dated(position.ms / 1000))


def of_file(sha256: str, modified: float) -> Current:
    return Current(etag=f'"{sha256}"', modified=dated(modified))


def dated(seconds: float) -> int:
    """Return the time in whole seconds, never in the future (section 8.8.2.1)."""
    return int(min(seconds, datetime.now(UTC).timestamp()))


def of_photo_to_change(request: Request[Any, Any, Any]) -> Requirement | None:
    """Return the check that the log makes before it decides; None without preconditions."""
    conditions = Conditions.of(request.scope)
    if conditions is None:
        return None

    def require(loaded: Loaded) -> None:
        conditions.require(_current(loaded))

    return require


def check_before_body(request: Request[Any, Any, Any]) -> None:
    """Evaluate the preconditions of a command that does not change a photo.

    Its address has no validators, and has a representation only if it supports GET.

    Raises:
        Refused: ``precondition-failed``.
    """
    conditions = Conditions.of(request.scope)
    if conditions is None or conditions.method in _SAFE:
        return
    if request.route_handler.opt.get(CONDITIONAL):
        return
    methods = methods_at(request.app, request.scope["path_template"])
    conditions.require(Current() if "GET" in methods else None)


def answering(scope: Any, send: Send) -> Send:
    """Wrap ``send`` to turn a 2xx answer into 304 or 412 if a GET or HEAD has a false condition."""
    conditions = Conditions.of(scope)
    if conditions is None or conditions.method not in _SAFE:
        return send
    answered = False

    async def conditional(message: Message) -> None:
        nonlocal answered
        if answered:
            return
        if message["type"] != "http.response.start" or not 200 <= message["status"] < 300:
            await send(message)
            return
        headers = [(name.lower(), value) for name, value in message["headers"]]
        verdict = conditions.evaluate(_validators_of(dict(headers)))
        if verdict == "proceed":
            await send(message)
            return
        answered = True
        body = b""
        headers = [each for each in headers if each[0] not in _BODY_HEADERS]
        if verdict == "failed":
            body = _problem(scope)
            headers += [
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
            ]
        status = 304 if verdict == "not-modified" else 412
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return conditional


def precondition_failed() -> Refused:
    return Refused(
        "precondition-failed",
        "The resource does not meet If-Match or another precondition of the request.",
    )


def http_date(seconds: int) -> str:
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def parse_date(text: str | None) -> int | None:
    """Return the seconds since 1970; None if ``text`` is not an HTTP date, which is ignored."""
    match = next((found for form in _DATES if (found := form.fullmatch(text or ""))), None)
    if match is None:
        return None
    year = int(match["year"])
    try:
        moment = datetime(
            year if year > 99 else year + 2000,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            min(int(match["second"]), 59),  # 60 is a leap second
            tzinfo=UTC,
        )
    except ValueError:
        return None
    if len(match["year"]) == 2 and moment > datetime.now(UTC) + _AHEAD:
        moment = moment.replace(year=moment.year - 100)
    return int(moment.timestamp())


def _matches(header: str, current: Current | None, *, strongly: bool) -> bool:
    """Return whether the header is ``*`` or lists the current tag; a malformed one lists none."""
    if current is None:
        return False
    if header == "*":
        return True
    if current.etag is None or _TAG.sub("", header).strip(" \t,"):
        return False
    tags: list[str] = _TAG.findall(header)
    if strongly:  # section 8.8.3.2: weak tags never match strongly
        return not current.etag.startswith("W/") and current.etag in tags
    return current.etag.removeprefix("W/") in (tag.removeprefix("W/") for tag in tags)


def _is_later(modified: int | None, than: int | None) -> bool:
    return modified is not None and than is not None and modified > than


def _is_not_later(modified: int | None, than: int | None) -> bool:
    return modified is not None and than is not None and modified <= than


def _validators_of(headers: dict[bytes, bytes]) -> Current:
    etag, modified = headers.get(b"etag"), headers.get(b"last-modified")
    return Current(
        etag=etag.decode("latin-1") if etag else None,
        modified=parse_date(modified.decode("latin-1")) if modified else None,
    )


def _current(loaded: Loaded) -> Current | None:
    if loaded.photo is None or loaded.photo.deleted or loaded.position is None:
        return None
    return of_photo(loaded.version, loaded.position)


def _problem(scope: Any) -> bytes:
    failed = precondition_failed()
    return msgspec.json.encode(document(failed.code, failed.detail, trace_id(scope)))
