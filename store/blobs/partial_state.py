"""The state of an unfinished upload, and its file."""

import hashlib
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from store.blobs import disk
from store.errors import Missing

Ending = Literal["finished", "expired", "deleted", "rejected"]
Kind = Literal["whole", "part", "final"]


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """The photo that a finished upload became, as its first answer named it."""

    photo_id: str
    job_id: str
    duplicate: bool
    position: str


class Partial(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of an upload. Times in seconds since 1970; ``length`` is None until it is known.

    ``kind`` is ``part`` for one that is only a part of another, ``final`` for one made of parts.
    ``is_complete`` says that the bytes up to ``offset`` are all there are.
    ``sha256`` is what the client expects of the whole file. ``metadata`` and ``concat`` are the
    headers of the request that created the upload. ``key`` is the idempotency key of its command.
    """

    upload_id: str
    client_id: str
    created_s: float
    expires_s: float
    length: int | None = None
    offset: int = 0
    is_complete: bool = False
    kind: Kind = "whole"
    metadata: str = ""
    concat: str = ""
    key: str = ""
    filename: str = ""
    session_id: str | None = None
    pipeline: str = ""
    priority: int = 0
    last_modified_ms: int | None = None
    sha256: str | None = None
    mime_type: str = ""
    ending: Ending | None = None
    ended_s: float = 0.0
    recorded: Recorded | None = None

    @property
    def held_bytes(self) -> int:
        """Return the bytes that the upload takes, or is going to take."""
        return max(self.offset, self.length or 0)


def new_id() -> str:
    """Return a new id of an upload, which nobody can guess."""
    return uuid.uuid4().hex


def final_id(parts: Sequence[str]) -> str:
    """Return the id of the upload made of these parts, in this order; secret as theirs are."""
    return hashlib.sha256("\n".join(("final", *parts)).encode()).hexdigest()[:32]


def load(path: Path) -> Partial:
    """Return the state in the file; raises Missing if it is not there, or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Partial)
    except FileNotFoundError as error:
        raise Missing(f"upload {path.stem} does not exist") from error
    except msgspec.DecodeError as error:
        raise Missing(f"the state of upload {path.stem} cannot be read") from error


def save(path: Path, state: Partial) -> None:
    """Replace the file, durably."""
    draft = path.with_name(f"{path.name}~{uuid.uuid4().hex}")
    with disk.create(draft) as file:
        disk.write(file, msgspec.json.encode(state))
        os.fsync(file.fileno())
    draft.replace(path)
    disk.sync_folder(path.parent)
