"""Create, look at, continue, end and expire resumable uploads; see the package."""

import hashlib
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from weakref import WeakValueDictionary

import anyio
import msgspec
from litestar import Response

from domain.photo.formats import HEAD_BYTES
from domain.rejections import Rejected, SessionIsClosed
from gateway.commands import POSITION_HEADER, accepting
from gateway.dependencies import Asked, Dependencies
from gateway.http.auth import check_priority_allowed
from gateway.http.limits import Limits
from gateway.http.problem_table import PROBLEMS
from gateway.http.problems import Refused
from gateway.limits.quotas import Quotas
from gateway.limits.upload_slots import Slots
from gateway.sessions.changing import check_open
from gateway.uploads.digests import digest_field, digests_of
from gateway.uploads.original_drafts import check_storage
from gateway.uploads.recording import Upload
from gateway.uploads.resumable import protocol
from gateway.uploads.resumable.finishing import finish
from gateway.uploads.resumable.metadata import About, about, checked_sha256
from gateway.uploads.resumable.protocol import Appending, Creation
from gateway.uploads.resumable.reception import format_of, receive, recognise
from gateway.uploads.resumable.turns import Turn, Turns
from store.blobs.partial_state import Partial, final_id, new_id
from store.blobs.partials import Locked, PartialFile
from store.errors import Full, Missing, StoreError

SWEEP_S = 60.0
"""How often uploads that have expired are removed."""

OF_BODY = ("Content-Digest", "Upload-Checksum")

FULL = 507
"""The status of problems that say that there is no room."""

_GONE = {
    "expired": "The upload has expired.",
    "deleted": "The upload has been deleted.",
    "rejected": "The upload has been rejected.",
    "finished": "The upload has become part of a photo.",
}

Answer = tuple[Partial, Response[Upload] | None]
"""An upload after a request, and the answer of a plain upload if the photo has been recorded."""


class ResumableUploads:
    """The resumable uploads of one gateway."""

    def __init__(self, deps: Dependencies, quotas: Quotas, slots: Slots) -> None:
        self._deps = deps
        self._quotas = quotas
        self._slots = slots
        self._turns = Turns()
        self._creating: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """Remove expired uploads while the block runs: part of the application's lifespan."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deps.background.keep, "resumable-uploads", self._sweep)
            yield
            tasks.cancel_scope.cancel()

    async def create(self, request: Asked, key: str | None) -> Answer:
        """Create an upload, and receive what the request has of it.

        Raises:
            Refused: a header is invalid, or the client has too many unfinished uploads.
            Rejected: the upload would exceed the quota, or as ``receive`` and ``finish``.
        """
        deps, limits = self._deps, self._deps.limits
        asked = protocol.creation(request, limits)
        fields = about(request, filename_max=limits.filename_max)
        check_priority_allowed(request.user, fields.priority)
        if asked.length == 0:
            raise Refused("empty-file", "The upload has 0 bytes.")
        state = self._new(request, asked, fields, key)
        if state.session_id is not None:
            await check_open(deps, state.client_id, state.session_id, state.key)
        await accepting(deps, request.user)
        await deps.log_memory.check(deps.log, limits, request.user.client_id)
        await check_storage(deps.blobs)
        if asked.kind == "final":
            return await self._concatenate(request, state, asked.parts)
        digests_of(request, *OF_BODY)  # before anything is created
        _check_length(request, state, asked.length, limits)
        async with self._turns.of(_turn_of(state.client_id, state.upload_id)) as turn:
            file = await self._create(state)
            is_known = False
            try:
                if not protocol.has_body(request) and not asked.is_last:
                    return state, None
                told = protocol.headers_of(state, limits, time.time())
                is_known = protocol.announce(
                    request,
                    {"Location": protocol.address_of(state), "Upload-Limit": told["Upload-Limit"]},
                )
                return await self._append(request, file, turn, is_last=asked.is_last)
            except BaseException:
                # A client that does not know the address cannot continue this upload.
                if file.state.ending is None and not is_known:
                    with anyio.CancelScope(shield=True), suppress(StoreError):
                        await file.end_as("deleted")
                raise
            finally:
                file.close()

    async def look(self, request: Asked, upload_id: str) -> Partial:
        """Return how far the upload is, after recording its photo if all bytes are there.

        Raises:
            Refused: ``upload-not-found``, ``upload-gone``, ``upload-locked``,
                ``upload-unrecorded``: there is no room for the photo; or as ``finish``.
        """
        protocol.check_version(request, required=False)
        if (ended := await self._ended(request, upload_id)) is not None:
            return _still_there(ended)
        async with self._using(request, upload_id) as (file, _):
            if file.state.is_complete and file.state.kind == "whole":
                return await self._finished(request, file)
            return file.state

    async def append(self, request: Asked, upload_id: str) -> Answer:
        """Append the request's body to the upload, and record the photo with the last byte.

        Raises:
            Refused: ``upload-offset-mismatch`` and others; or as ``look``, ``receive``, ``finish``.
        """
        asked = protocol.appending(request, self._deps.limits)
        if (ended := await self._ended(request, upload_id)) is not None:
            if ended.kind == "final":
                raise Refused("upload-is-final", "A final upload takes no bytes.")
            raise _mismatch(_still_there(ended), asked)
        async with self._using(request, upload_id) as (file, turn):
            state = file.state
            if asked.offset != state.offset:
                raise _mismatch(state, asked)
            if state.is_complete and state.kind == "whole" and not request.content_length:
                return await self._finish(request, file)
            _check_length(request, state, asked.length, self._deps.limits)
            await self._check_session(file)
            if state.length is None and asked.length is not None:
                file.state = msgspec.structs.replace(state, length=asked.length)
            return await self._append(request, file, turn, is_last=asked.is_last)

    async def delete(self, request: Asked, upload_id: str) -> None:
        """End the upload, and remove its bytes; raises as ``look``."""
        protocol.check_version(request, required=False)
        if (ended := await self._ended(request, upload_id)) is not None:
            raise _gone(ended)
        async with self._using(request, upload_id) as (file, _):
            await file.end_as("deleted")

    def _new(self, request: Asked, asked: Creation, fields: About, key: str | None) -> Partial:
        upload_id, now = new_id(), time.time()
        if asked.kind == "final":  # a repeated concatenation is the same command, and upload
            key = key or hashlib.sha256("\n".join(asked.parts).encode()).hexdigest()
            upload_id = final_id(asked.parts)
        return Partial(
            upload_id=upload_id,
            client_id=request.user.client_id,
            created_s=now,
            expires_s=now + self._deps.limits.upload_expires_s,
            length=asked.length,
            kind=asked.kind,
            metadata=fields.metadata,
            concat=asked.concat,
            key=key or f"upload-{upload_id}",
            filename=fields.filename,
            session_id=fields.session_id,
            pipeline=fields.pipeline,
            priority=fields.priority,
            last_modified_ms=fields.last_modified_ms,
            sha256=_expected(request) or fields.sha256,
        )

    async def _create(self, state: Partial) -> PartialFile:
        """Create the upload if the client may have one more, of its length."""
        client_id, limits, partials = state.client_id, self._deps.limits, self._deps.partials
        creating = self._creating.setdefault(client_id, anyio.Lock())
        async with creating:
            if len(await partials.open_of(client_id)) >= limits.open_uploads:
                raise Refused(
                    "too-many-open-uploads",
                    f"The client already has {limits.open_uploads:,} unfinished uploads.",
                )
            await self._quotas.room(client_id, state.length or 0, state.key)
            return await partials.create(state)

    async def _append(
        self, request: Asked, file: PartialFile, turn: Turn, *, is_last: bool
    ) -> Answer:
        client_id, limits = file.state.client_id, self._deps.limits
        digests = digests_of(request, *OF_BODY)
        quota = self._quotas.of(client_id)
        async with self._slots.one(client_id, limits.upload_patience_s, most=quota.uploads):
            size = file.end + (request.content_length or 0)
            room = await self._quotas.room(client_id, size, file.state.key, besides=file.state)
            await receive(request, file, turn, digests, limits, room)
        length = file.state.length
        if is_last and length not in (None, file.end):
            await file.keep()
            raise protocol.contradiction(f"The last byte came at {file.end} of {length}.")
        if is_last or (file.end == length and not protocol.is_draft(request)):
            await recognise(file)
            file.state = msgspec.structs.replace(file.state, length=file.end, is_complete=True)
        await file.keep()
        await request.auth.still(request.user)  # the body may have taken long
        if file.state.is_complete and file.state.kind == "whole":
            return await self._finish(request, file)
        return file.state, None

    async def _check_session(self, file: PartialFile) -> None:
        """Return if the session of the upload takes photos; otherwise end the upload."""
        state = file.state
        if state.session_id is None:
            return
        try:
            await check_open(self._deps, state.client_id, state.session_id, state.key)
        except SessionIsClosed:
            await file.end_as("rejected")
            raise

    async def _finish(self, request: Asked, file: PartialFile) -> Answer:
        quota = self._quotas.of(file.state.client_id)
        return await finish(request, self._deps, file.state, [file], quota)

    async def _finished(self, request: Asked, file: PartialFile) -> Partial:
        """Record the photo of an upload that was interrupted after its last byte."""
        try:
            return (await self._finish(request, file))[0]
        except SessionIsClosed:
            raise
        except (Rejected, Full) as error:
            raise _unrecorded(error) from error
        except Refused as error:
            if PROBLEMS[error.code].status == FULL:
                raise _unrecorded(error) from error
            raise

    async def _concatenate(self, request: Asked, state: Partial, parts: tuple[str, ...]) -> Answer:
        """Record the photo made of the parts, or answer as the same request did before."""
        async with self._turns.of(_turn_of(state.client_id, state.upload_id)):
            try:
                return await self._join(request, state, parts)
            except Refused as error:
                known = await self._ended(request, state.upload_id)
                if error.code != "upload-gone" or known is None or not _is_repeated(state, known):
                    raise
            for part in parts:  # a crash may have left some
                with suppress(Refused):
                    async with self._using(request, part) as (file, _):
                        await file.end_as("finished")
            return known, None

    async def _join(self, request: Asked, state: Partial, parts: tuple[str, ...]) -> Answer:
        async with AsyncExitStack() as stack:
            # In one order, so that two concatenations of the same parts do not wait for each other.
            opened = {
                part: (await stack.enter_async_context(self._using(request, part)))[0]
                for part in sorted(parts)
            }
            files = [opened[part] for part in parts]
            for file in files:
                if file.state.kind != "part" or not file.state.is_complete:
                    address = protocol.address_of(file.state)
                    raise Refused("upload-incomplete", f"{address} is not a complete part.")
            size = sum(file.state.offset for file in files)
            limits = self._deps.limits
            if size > limits.max_upload_bytes:
                raise protocol.too_long(limits)
            mime_type = format_of(b"".join([await file.head(HEAD_BYTES) for file in files]))
            state = msgspec.structs.replace(
                state, length=size, offset=size, is_complete=True, mime_type=mime_type
            )
            quota = self._quotas.of(state.client_id)
            return await finish(request, self._deps, state, files, quota)

    async def _ended(self, request: Asked, upload_id: str) -> Partial | None:
        try:
            return await self._deps.partials.ended(request.user.client_id, upload_id)
        except Missing:
            return None

    @asynccontextmanager
    async def _using(
        self, request: Asked, upload_id: str
    ) -> AsyncGenerator[tuple[PartialFile, Turn]]:
        """Use an unfinished upload of the request's client, alone."""
        client_id = request.user.client_id
        async with self._turns.of(_turn_of(client_id, upload_id)) as turn:
            file = await self._open(request, client_id, upload_id)
            try:
                if file.state.expires_s <= time.time():
                    raise _gone(await file.end_as("expired"))
                yield file, turn
            finally:
                file.close()

    async def _open(self, request: Asked, client_id: str, upload_id: str) -> PartialFile:
        try:
            return await self._deps.partials.open(client_id, upload_id)
        except Locked as error:
            raise Refused(
                "upload-locked", "Another gateway process is using this upload."
            ) from error
        except Missing as error:
            ended = await self._ended(request, upload_id)  # meanwhile
            if ended is not None:
                raise _gone(ended) from error
            raise Refused("upload-not-found", "There is no such upload.") from error

    async def _sweep(self) -> None:
        while True:
            await self._deps.partials.sweep()
            await anyio.sleep(min(SWEEP_S, self._deps.limits.upload_expires_s))


def _expected(request: Asked) -> str | None:
    """Return the SHA-256 in ``Repr-Digest``, in hex; raises Refused, ``invalid-digest``."""
    digest = digest_field(request, "Repr-Digest").get("sha-256")
    return checked_sha256(digest.hex()) if digest is not None else None


def _turn_of(client_id: str, upload_id: str) -> str:
    """Return the name of the upload's turn; an id of another client's upload is another name."""
    return f"{client_id}/{upload_id}"


def position_of(state: Partial) -> dict[str, str]:
    """Return the header with the position of the photo's event; {} before there is one."""
    return {POSITION_HEADER: state.recorded.position} if state.recorded else {}


def _is_repeated(state: Partial, known: Partial) -> bool:
    """Return whether the final upload ``known`` became a photo, and ``state`` asks for the same."""
    return (
        known.recorded is not None
        and (state.key, state.metadata) == (known.key, known.metadata)
        and state.sha256 in (None, known.sha256)
    )


def _unrecorded(error: Exception) -> Refused:
    return Refused(
        "upload-unrecorded",
        f"All bytes have arrived, but the photo cannot be recorded now: {error}",
    )


def _still_there(ended: Partial) -> Partial:
    """Return the state of a finished upload; raises Refused, ``upload-gone``, for others."""
    if ended.recorded is None:
        raise _gone(ended)
    return ended


def _gone(ended: Partial) -> Refused:
    why = _GONE[ended.ending or "expired"]
    if ended.recorded is not None:
        why = f"The upload has become the photo {ended.recorded.photo_id}."
    return Refused("upload-gone", why)


def _mismatch(state: Partial, asked: Appending) -> Refused:
    return Refused(
        "upload-offset-mismatch",
        f"Upload-Offset is {asked.offset}, but {state.offset} bytes have been received.",
        headers={
            "Upload-Offset": str(state.offset),
            "Upload-Complete": "?1" if state.is_complete else "?0",
        },
    )


def _check_length(request: Asked, state: Partial, announced: int | None, limits: Limits) -> None:
    """Return if the request's lengths fit what is known; raises Refused before the body is read."""
    if state.is_complete:
        raise protocol.contradiction(f"The upload is complete with {state.offset} bytes.")
    if None not in (state.length, announced) and state.length != announced:
        raise protocol.contradiction(
            f"The length was announced as {state.length}, and is now {announced}."
        )
    length = announced if state.length is None else state.length
    end = state.offset + (request.content_length or 0)
    if length is not None and end > length:
        raise protocol.contradiction(f"The body would end at {end} of {length}.")
    if end > limits.max_upload_bytes:
        raise protocol.too_long(limits)
