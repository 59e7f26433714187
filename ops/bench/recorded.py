"""The events of one photo as a running Photolog records them, and clones of them."""

import asyncio
import hashlib
import re
import secrets
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from domain.photo.events import FIRST_PREV, Data
from domain.photo.state import Photo, evolve
from ops.bench.filling import upload_files, upload_models
from ops.bench.system import System, running
from ops.config.loading import load
from ops.runtime.wiring import open_log
from store.log import codec
from store.log.chain import Chained
from store.log.recorded import Recorded

CLIENT = "bench"

_IDENTIFIER = re.compile(
    rb"([0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|(?<=-)[0-9a-f]{16}\b)"
)
"""The digests, ids and traces in a body, and the beginnings of digests that end keys."""

_DIGEST = re.compile(rb"[0-9a-f]{64}")

_FOLDER = 2
"""Letters of an id that name the folder of a key; clones share them with their model."""

_BEGINNING = 16
"""Letters of a digest that end the key of its rendition."""


class Clone(msgspec.Struct, frozen=True, kw_only=True):
    """A clone of a photo: its events, and the state that they leave.

    The bodies are the clone's; the ``events`` beside them are those of its model.
    """

    photo_id: str
    sha256: str
    chained: Chained
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


class _Template(NamedTuple):
    """The bytes between identifiers, and the number of the identifier after each but the last."""

    texts: list[bytes]
    numbers: list[int]

    def fill(self, identifiers: Sequence[bytes]) -> bytes:
        parts = [b""] * (len(self.texts) + len(self.numbers))
        parts[::2] = self.texts
        parts[1::2] = [identifiers[number] for number in self.numbers]
        return b"".join(parts)


class Clones:
    """Clones of a photo whose events are ``model``.

    Each has other ids, digests and traces, and a hash chain of its own; its keys derive from them.
    """

    def __init__(self, model: Sequence[Recorded]) -> None:
        photo: Photo | None = None
        for each in model:
            photo = evolve(photo, each.event)
        if photo is None:
            raise ValueError("a photo without events cannot be cloned")
        self.client_id = photo.client_id
        self._events = tuple(each.event for each in model)
        self._numbers: dict[bytes, int] = {}
        self._beginnings: dict[int, int] = {}
        self._first_prev = self._number(FIRST_PREV.encode())
        self._photo_id = self._number(photo.photo_id.encode())
        self._sha256 = self._number(photo.sha256.encode())
        self._bodies: list[_Template] = []
        self._digests: list[int] = []
        for each in model:
            for digest in _DIGEST.findall(each.body):
                self._beginnings[self._number(digest)] = self._number(digest[:_BEGINNING])
            self._bodies.append(self._template(each.body))
            digest = hashlib.sha256(each.body).hexdigest()
            self._digests.append(self._number(digest.encode()))
        self._state = self._template(codec.encode_photo(photo))

    def photos(self, count: int) -> Iterator[Clone]:
        for _ in range(count):
            yield self._clone()

    def _number(self, identifier: bytes) -> int:
        """Return the number of an identifier in the model."""
        return self._numbers.setdefault(identifier, len(self._numbers))

    def _template(self, text: bytes) -> _Template:
        parts = _IDENTIFIER.split(text)
        return _Template(parts[::2], [self._number(each) for each in parts[1::2]])

    def _clone(self) -> Clone:
        others = [_another(identifier) for identifier in self._numbers]
        others[self._first_prev] = FIRST_PREV.encode()
        for number, beginning in self._beginnings.items():
            others[beginning] = others[number][:_BEGINNING]
        bodies: list[bytes] = []
        digest = FIRST_PREV
        for template, number in zip(self._bodies, self._digests, strict=True):
            body = template.fill(others)
            bodies.append(body)
            digest = hashlib.sha256(body).hexdigest()
            others[number] = digest.encode()
        return Clone(
            photo_id=others[self._photo_id].decode(),
            sha256=others[self._sha256].decode(),
            chained=Chained(events=self._events, bodies=tuple(bodies), digest=digest),
            state=self._state.fill(others),
        )


def _another(identifier: bytes) -> bytes:
    """Return a random identifier of the same form."""
    match len(identifier):
        case 36:
            return identifier[:_FOLDER] + str(uuid.uuid4()).encode()[_FOLDER:]
        case length:
            return secrets.token_hex(length // 2).encode()
