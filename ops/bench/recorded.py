"""The events of one photo as a running Photolog records them, and clones of them."""

import asyncio
import hashlib
import re
import secrets
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from domain.photo.events import FIRST_PREV, Data
from domain.photo.state import Photo, evolve
from ops.bench.filling import upload_files, upload_models
from ops.bench.system import System, running
from ops.config.loading import load
from ops.runtime.wiring import open_log
from store.log import codec
from store.log.stream import Recorded

CLIENT = "bench"

Entry = tuple[str, str, int, bytes]
"""The type, photo, version and body of a clone's event."""

_IDENTIFIER = re.compile(
    rb"[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|(?<=-)[0-9a-f]{16}\b"
)
"""The digests, ids and traces in a body, and the beginnings of digests that end keys."""

_DIGEST = re.compile(rb"[0-9a-f]{64}")

_FOLDER = 2
"""Letters of an id that name the folder of a key; clones share them with their model."""

_BEGINNING = 16
"""Letters of a digest that end the key of its rendition."""


class Clone(msgspec.Struct, frozen=True, kw_only=True):
    """A clone's events, and the state that they leave: its digest is that of the last one."""

    photo_id: str
    sha256: str
    entries: list[Entry]
    digest: str
    state: bytes


def recorded_photos(folder: Path | None, most: int) -> list[list[Recorded]]:
    """Upload the first ``most`` files of the folder, or one that is drawn; return their events."""
    with running() as system:
        if folder is None:
            upload_models(system, CLIENT)
        else:
            upload_files(system, CLIENT, sorted(each for each in folder.iterdir())[:most])
        return asyncio.run(events_of(system))[:most]


async def events_of(system: System) -> list[list[Recorded]]:
    """Return the events of each photo in the log."""
    photos: dict[str, list[Recorded]] = {}
    async with open_log(load({"PHOTOLOG_DATA": str(system.data)}).settings) as log:
        for partition in range(log.partitions):
            async for each in log.scan(partition):
                if isinstance(each.event.data, Data):
                    photos.setdefault(each.event.data.photo_id, []).append(each)
    return list(photos.values())


class Clones:
    """Clones of a photo whose events are ``model``.

    Each has other ids, digests and traces, and a hash chain of its own; its keys derive from them.
    """

    def __init__(self, model: Sequence[Recorded]) -> None:
        self._model = model
        photo: Photo | None = None
        for each in model:
            photo = evolve(photo, each.event)
        if photo is None:
            raise ValueError("a photo without events cannot be cloned")
        self._photo = photo
        self.client_id = photo.client_id
        self._state = codec.encode_photo(photo)

    def entries(self, count: int) -> Iterator[Entry]:
        """Yield the events of ``count`` clones."""
        for clone in self.photos(count):
            yield from clone.entries

    def photos(self, count: int) -> Iterator[Clone]:
        for _ in range(count):
            yield self._clone()

    def _clone(self) -> Clone:
        others: dict[bytes, bytes] = {FIRST_PREV.encode(): FIRST_PREV.encode()}

        def another(found: bytes) -> bytes:
            if found not in others:
                others[found] = _another(found)
            return others[found]

        def other(match: re.Match[bytes]) -> bytes:
            return another(match[0])

        entries: list[Entry] = []
        digest = FIRST_PREV
        for each in self._model:
            for digest in _DIGEST.findall(each.body):
                others.setdefault(digest[:_BEGINNING], another(digest)[:_BEGINNING])
            body = _IDENTIFIER.sub(other, each.body)
            digest = hashlib.sha256(body).hexdigest()
            others[hashlib.sha256(each.body).hexdigest().encode()] = digest.encode()
            photo_id = others[each.event.data.photo_id.encode()].decode()
            entries.append((each.event.type, photo_id, each.event.metadata.photo_version, body))
        return Clone(
            photo_id=others[self._photo.photo_id.encode()].decode(),
            sha256=others[self._photo.sha256.encode()].decode(),
            entries=entries,
            digest=digest,
            state=_IDENTIFIER.sub(other, self._state),
        )


def _another(identifier: bytes) -> bytes:
    """Return a random identifier of the same form."""
    match len(identifier):
        case 36:
            return identifier[:_FOLDER] + str(uuid.uuid4()).encode()[_FOLDER:]
        case length:
            return secrets.token_hex(length // 2).encode()
