"""Check the hash chains of the log: each event holds the digest of the one before it.

The events of a photo form one chain, and so do those of an upload session. Those of the pipeline
itself form another, called ``pipeline``.
In a chain, versions count from 1 without a gap, and ``prev`` is the SHA-256, in hex, of the field
``b`` of the previous entry as stored; in the first event it is 64 zeros. A chain cannot show that
its last events were removed; an anchor can, if it is noted and compared later.
"""

import hashlib
from collections.abc import Callable, Mapping

import msgspec

from domain.photo.events import EVENT_TYPES, FIRST_PREV
from domain.sessions.events import CHAIN, SessionData, chain_of
from domain.system_events import OF_NO_PHOTO, SystemData
from store.log.codec import digest
from store.log.entries import StoredEntry, entries, length
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import is_foreign

PIPELINE = "pipeline"
"""The name of the chain of events that are about no photo."""

UNKNOWN = "?"
"""The name of the chain of entries that do not say what they are about."""

REPORT_EVERY = 500

Progress = Callable[[int, int], None]
"""Called with ``(done, total)`` in entries."""


class Break(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An event that does not fit its ``chain``: a photo's id, a session's, or ``pipeline``."""

    chain: str
    version: int
    position: str
    problem: str


class Audit(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The findings in the log up to ``positions``, one for each partition.

    ``anchor`` is the SHA-256 of a line ``<chain> <digest>`` for each chain, ordered by name. A
    chain's digest starts as 64 zeros; each event replaces it with the SHA-256 of the digest so far
    followed by the SHA-256 of the event, both in hex. Every audit up to the same positions gives
    the same anchor, unless events were changed, removed or inserted. ``lost`` are requested end
    positions at which the log has no event; then there is no anchor. ``digest`` is the SHA-256 of
    the last event of the only photo; None without one.
    """

    photos: int
    events: int
    breaks: list[Break]
    lost: list[str]
    anchor: str | None
    positions: list[str]
    digest: str | None = None


class _Data(msgspec.Struct, frozen=True, rename="camel"):
    photo_id: str | None = None
    client_id: str | None = None
    session_id: str | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    photo_version: int
    prev: str


class _Event(msgspec.Struct, frozen=True):
    """The fields that make an event, of any type and version, a link of its chain."""

    type: str
    data: _Data
    metadata: _Metadata


_decoder = msgspec.msgpack.Decoder(_Event)


class Chains:
    """Check entries in log order, those of all chains or of the one called ``only``."""

    def __init__(self, only: str | None = None) -> None:
        self.breaks: list[Break] = []
        self.events = 0
        self._only = only
        self._photos: set[str] = set()
        self._last: dict[str, tuple[int, str]] = {}
        self._all: dict[str, str] = {}

    @property
    def photos(self) -> int:
        """The number of photos with a readable event; a mere ``p`` field does not count."""
        return len(self._photos)

    @property
    def anchor(self) -> str:
        lines = [f"{chain} {of_all}\n" for chain, of_all in sorted(self._all.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def last_digest(self, chain: str) -> str | None:
        """Return the SHA-256 of the chain's last event, in hex; None if it has none."""
        return self._last[chain][1] if chain in self._last else None

    def take(self, entry: StoredEntry) -> None:
        if is_foreign(entry.fields):
            self._take_foreign(entry)
            return
        body = entry.fields.get(b"b", b"")
        try:
            event = _decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            event = None
        chain = _chain(event, entry)
        if self._only not in (None, chain):
            return
        last_version, last_digest = self._last.get(chain, (0, FIRST_PREV))
        version = event.metadata.photo_version if event else last_version + 1
        for problem in _problems(event, entry, chain, last_version, last_digest):
            self.breaks.append(
                Break(chain=chain, version=version, position=str(entry.position), problem=problem)
            )
        self.events += 1
        if event is not None and not (chain in (PIPELINE, UNKNOWN) or chain.startswith(CHAIN)):
            self._photos.add(chain)
        self._last[chain] = version, digest(body)
        self._add(chain, body)

    def _take_foreign(self, entry: StoredEntry) -> None:
        """Report an entry that is not an event; it is no link, so its neighbours still fit."""
        if self._only in (None, UNKNOWN):
            position = str(entry.position)
            self.breaks.append(
                Break(chain=UNKNOWN, version=0, position=position, problem="it is not an event")
            )
            self._add(UNKNOWN, position.encode())

    def _add(self, chain: str, body: bytes) -> None:
        before = self._all.get(chain, FIRST_PREV)
        self._all[chain] = hashlib.sha256((before + digest(body)).encode()).hexdigest()


async def audit(
    log: Log,
    *,
    only: str | None = None,
    upto: Mapping[int, Position] | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Audit:
    """Read the whole log, or the part of it up to ``upto``, and check its chains.

    The system may be running: entries appended after the call began are ignored.

    Raises:
        Unavailable: Redis does not answer.
    """
    ends = [
        (upto or {}).get(partition) or await log.last_entry(partition)
        for partition in range(log.partitions)
    ]
    total = sum([await length(log, end.partition) for end in ends])
    chains, done = Chains(only), 0
    lost: list[str] = []
    for end in ends:
        last = Position.start(end.partition)
        async for entry in entries(log, end):
            chains.take(entry)
            last = entry.position
            done += 1
            if done % REPORT_EVERY == 0:
                progress(done, total)
        if last != end:
            lost.append(str(end))
    return Audit(
        photos=chains.photos,
        events=chains.events,
        breaks=chains.breaks,
        lost=lost,
        anchor=None if lost else chains.anchor,
        positions=[str(end) for end in ends],
        digest=None if only is None or lost else chains.last_digest(only),
    )


def _chain(event: _Event | None, entry: StoredEntry) -> str:
    """Return the name of the event's chain, or ``?`` if neither event nor entry names one.

    If the event is unreadable, the entry's field ``p`` decides.
    """
    if event is None:
        return entry.fields.get(b"p", b"").decode("utf-8", "replace") or UNKNOWN
    kind = EVENT_TYPES.get(event.type)
    if kind is not None and issubclass(kind, SystemData):
        return PIPELINE
    if kind is not None and issubclass(kind, SessionData):
        data = event.data
        return chain_of(data.client_id or "", data.session_id or "")
    return event.data.photo_id or UNKNOWN


def _problems(
    event: _Event | None, entry: StoredEntry, chain: str, last_version: int, last_digest: str
) -> list[str]:
    if event is None:
        return ["its body is not an event"]
    found: list[str] = []
    version, prev = event.metadata.photo_version, event.metadata.prev
    if version > last_version + 1:
        first, last = last_version + 1, version - 1
        gap = f"version {first} is" if first == last else f"versions {first} to {last} are"
        found.append(f"{gap} missing before it")
    elif version <= last_version:
        found.append(f"it follows version {last_version}")
    elif prev != last_digest and version == 1:
        found.append("it is the first event, but its prev is not 64 zeros")
    elif prev != last_digest:
        found.append(f"its prev is not the SHA-256 of version {last_version} as stored")
    photo_id = OF_NO_PHOTO if chain == PIPELINE else chain
    filed = {"t": event.type, "v": str(version), "p": photo_id}
    for field, expected in filed.items():
        value = entry.fields.get(field.encode(), b"").decode("utf-8", "replace")
        if value != expected:
            found.append(f"its field {field} is {value!r}, but its body says {expected!r}")
    return found
