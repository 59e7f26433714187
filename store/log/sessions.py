"""Upload sessions in the log: reads a session's state, and changes it by command.

| key | type | what |
|---|---|---|
| ``photolog:{07}:log`` | stream | the events, among those of the photos of the client's partition |
| ``photolog:{07}:upload-session:<clientId>:<sessionId>`` | hash | ``v`` version, ``d`` digest, \
  ``p`` position, ``s`` state |
| ``photolog:{07}:command:<clientId>:<sessionId>\\n<upload>`` | string | that a duplicate with an \
  idempotency key was counted, as long as the log remembers that key |

The hash is a cache of the fold, like a photo's. ``eviction`` removes that of a session at rest.
``s`` begins with ``CLOSED`` if the session is closed, which ``append.lua`` checks when a photo is
uploaded into it; ``session_closings`` tells it without a hash. A session that was opened by uploads
has no events of its own and no hash, so a missing hash alone does not tell whether it was lost:
callers say how far they know the session's events.
"""

import logging
import re
from functools import reduce

import msgspec

from domain.photo.events import FIRST_PREV, Context
from domain.sessions.events import DuplicateFound, SessionEvent, chain_of
from domain.sessions.session import (
    NEW,
    RecordDuplicate,
    Session,
    SessionCommand,
    decide,
    evolve,
    is_at_rest,
)
from store.errors import Corrupt, Unexpected
from store.keys import Keys
from store.log import codec
from store.log.append import AppendRequest
from store.log.chain import Chained, chain
from store.log.command_loop import PATIENCE_S, run
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded
from store.redis.connection import translated

logger = logging.getLogger("photolog.sessions")

OPEN, CLOSED = b"O", b"C"

REMEMBERED = (b"repeated", b"duplicate", b"reused")
"""Replies to a command that seems done: its key may be damaged, or name an event that is lost."""

_NAMED = re.compile(rb"(\S+) (\d{1,15}-\d{1,15})")
"""The value of a remembered command that has appended an event, see ``append.lua``."""

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Session)


class SessionState(msgspec.Struct, frozen=True, kw_only=True):
    """A session as its own events leave it; ``position`` is that of the last, None without any.

    ``evicted`` says that Redis has no state of the session, because it is at rest: an append has to
    put it back first.
    """

    session: Session = NEW
    version: int = 0
    digest: str = FIRST_PREV
    position: Position | None = None
    evicted: bool = False


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The session ``after`` a command; ``changed`` if the command has appended an event."""

    after: SessionState
    changed: bool


class SessionLog:
    """The sessions of all clients.

    ``without`` is a position up to which the caller knows that the session has no events of its
    own, from a read model that has folded all events until then. It bounds what is read if there is
    no state; None reads all that the archive does not have. No more is read for an earlier one.
    """

    def __init__(self, log: Log) -> None:
        self._log = log

    async def load(
        self, client_id: str, session_id: str, without: Position | None, *, safe: bool = False
    ) -> SessionState:
        """Return the state of the session, folding its events if the cached state is missing.

        ``safe`` as in ``Log.load``.
        """
        log, partition = self._log, self._log.partition_of(client_id)
        key = _key(log.keys, partition, client_id, session_id)
        version, digest, entry_id, state = await log.state_of(
            partition, key, chain_of(client_id, session_id), safe=safe
        )
        if version is None or digest is None or entry_id is None or state is None:
            return await self._fold(client_id, session_id, without)
        try:
            return SessionState(
                session=_decoder.decode(state[1:]),
                version=int(version),
                digest=digest.decode(),
                position=Position.of_entry(partition, entry_id),
            )
        except (Corrupt, Unexpected, ValueError) as error:
            logger.warning("the cached state of a session is damaged; folding it again: %s", error)
            return await self._fold(client_id, session_id, None)

    async def execute(
        self,
        command: SessionCommand,
        context: Context,
        *,
        without: Position | None,
        idempotency_key: str | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Done:
        """Load the session, decide, append; start over if another command came between.

        ``idempotency_key`` is that of the upload that turned out to be a duplicate.

        Raises:
            Rejected: the rules reject the command.
            Unavailable: Redis did not answer within ``patience_s``; the outcome is unknown.
        """
        client_id, session_id = command.client_id, command.session_id
        return await run(
            lambda safe: self.load(client_id, session_id, without, safe=safe),
            lambda state, _: _chained(command, state, context),
            lambda state, chained: self._append_to(state, chained, command, idempotency_key),
            every_load_is_safe=self._log.durability.wait is None,
            doubt=lambda: self._log.answered.doubt(self._log.partition_of(client_id)),
            subject="this session",
            patience_s=patience_s,
        )

    async def was_counted(self, command: RecordDuplicate) -> bool:
        """Return whether the log has the event of the upload, if its key is remembered."""
        partition = self._log.partition_of(command.client_id)
        key = self._log.keys.command(partition, command.client_id, _upload_of(command))
        with translated():
            value = msgspec.convert(await self._log.redis.get(key), bytes | None)
        named = _NAMED.fullmatch(value or b"")
        return named is not None and await self._is_in_log([b"repeated", *named.groups()], command)

    async def _append_to(
        self,
        state: SessionState,
        chained: Chained,
        command: SessionCommand,
        idempotency_key: str | None,
    ) -> Done | None:
        """Append what was decided and remember the answer; None on a conflict."""
        if not chained.events:
            return Done(after=state, changed=False)
        log, partition = self._log, self._log.partition_of(command.client_id)
        if state.evicted and not await self._put_back(command, state):
            return None
        chain_id, session = chain_of(command.client_id, command.session_id), state.session
        for event in chained.events:
            session = _evolve(session, event.data)
        command_key = None
        if isinstance(command, RecordDuplicate):
            command_key = log.keys.command(partition, command.client_id, _upload_of(command))
        asked = log.owner(partition)
        reply = await log.append.send(
            AppendRequest(
                partition=partition,
                state_key=_key(log.keys, partition, command.client_id, command.session_id),
                photo_id=chain_id,
                client_id=command.client_id,
                version=state.version,
                digest=state.digest,
                chained=chained,
                state=_encoded(session),
                idempotency_key=idempotency_key,
                command_key=command_key,
            )
        )
        if reply[0] in REMEMBERED:
            if isinstance(command, RecordDuplicate) and await self._is_in_log(reply, command):
                return Done(after=state, changed=False)
            if command_key is not None:
                with translated():
                    await log.redis.unlink(command_key)
            return None
        if reply[0] != b"appended":
            return None
        position = Position.of_entry(partition, reply[-1])
        log.answered.note(position, chain_id, chained.digest, asked=asked)
        after = SessionState(
            session=session,
            version=state.version + len(chained.events),
            digest=chained.digest,
            position=position,
        )
        return Done(after=after, changed=True)

    async def _is_in_log(self, reply: list[bytes], command: RecordDuplicate) -> bool:
        """Return whether the log has the event of the upload that a remembered command names."""
        chain_id = chain_of(command.client_id, command.session_id)
        match reply:
            case [b"repeated", first, end] if first == chain_id.encode():
                position = Position.of_entry(self._log.partition_of(command.client_id), end)
                found = await self._log.at(position, safe=False)
                data = found and found.event.data
                return (
                    isinstance(data, DuplicateFound)
                    and data.photo_id == chain_id
                    and data.upload == command.upload
                )
            case _:
                return False

    async def _put_back(self, command: SessionCommand, state: SessionState) -> bool:
        """Put back the state of an evicted session; False if it has changed meanwhile."""
        client_id, session_id = command.client_id, command.session_id
        stored = await self._fold(client_id, session_id, None, put_evicted_back=True)
        return stored.digest == state.digest

    async def _fold(
        self,
        client_id: str,
        session_id: str,
        without: Position | None,
        *,
        put_evicted_back: bool = False,
    ) -> SessionState:
        """Fold the session's events again and put its state back, unless it was evicted.

        Sealed events are found by the indexes of the archive; only later ones are scanned for.

        A session without events gets a state only in place of one whose events the log has lost.
        """
        log, partition = self._log, self._log.partition_of(client_id)
        chain_id, found = chain_of(client_id, session_id), list[Recorded]()
        if without is None or without < await log.trimmed(partition):
            found, position = await log.sealed_of(partition, chain_id)
        else:
            position = without
        while True:
            last = await log.last_entry(partition)
            later, position = await log.later_of(chain_id, position)
            found = [*found, *later]
            state = reduce(_with, found, SessionState())
            if found and not put_evicted_back and await self._is_evicted(found[-1]):
                return msgspec.structs.replace(state, evicted=True)
            key, upto = _key(log.keys, partition, client_id, session_id), max(last, position)
            is_new = state.position is None and not await self._exists(key)
            if is_new or upto == Position.start(partition):
                return state
            if await log.restore(
                key,
                upto=upto,
                version=state.version,
                digest=state.digest,
                last=state.position or Position.start(partition),
                state=_encoded(state.session),
            ):
                return state

    async def _is_evicted(self, last: Recorded) -> bool:
        """Return whether the archiver has removed the state with this last event, or would have."""
        if not isinstance(last.event.data, SessionEvent) or not is_at_rest(last.event.data):
            return False
        return last.position <= await self._log.eviction.evicted(last.position.partition)

    async def _exists(self, key: str) -> bool:
        with translated():
            return bool(await self._log.redis.exists(key))


def _key(keys: Keys, partition: int, client_id: str, session_id: str) -> str:
    return keys.upload_session(partition, client_id, session_id)


def _upload_of(command: RecordDuplicate) -> str:
    """Return what stands for the upload among idempotency keys, none of which has a line break."""
    return f"{command.session_id}\n{command.upload}"


def _encoded(session: Session) -> bytes:
    return (CLOSED if session.closed else OPEN) + _encoder.encode(session)


def _chained(command: SessionCommand, state: SessionState, context: Context) -> Chained:
    return chain(
        decide(command, state.session),
        version=state.version,
        digest=state.digest,
        client_id=command.client_id,
        session_id=command.session_id,
        context=context,
    )


def _with(state: SessionState, recorded: Recorded) -> SessionState:
    return SessionState(
        session=_evolve(state.session, recorded.event.data),
        version=recorded.event.metadata.photo_version,
        digest=codec.digest(recorded.body),
        position=recorded.position,
    )


def _evolve(session: Session, data: object) -> Session:
    if not isinstance(data, SessionEvent):
        raise TypeError(f"{type(data).__name__} is no event of a session")
    return evolve(session, data)
