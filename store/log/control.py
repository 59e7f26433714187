"""The controls: what operators have paused, limited or cancelled, as the log records it.

| key | type | what |
|---|---|---|
| ``photolog:{00}:log`` | stream | the events, among those of the photos of partition 0 |
| ``photolog:{00}:pipeline`` | hash | ``v`` version, ``d`` digest, ``p`` position, ``s`` state |

The hash is a cache of the fold, like a photo's.
"""

import logging
from datetime import datetime

import msgspec

from domain.photo.events import FIRST_PREV, Context, Event
from domain.pipeline.control import PROTECTING, ControlCommand, Controls, decide, evolve
from domain.system_events import OF_NO_PHOTO, SystemData
from store.errors import Corrupt, Unexpected
from store.log import codec
from store.log.append import AppendRequest
from store.log.chain import Chained, chain
from store.log.command_loop import PATIENCE_S, run
from store.log.log import Log
from store.log.position import Position
from store.log.recorded import Recorded

logger = logging.getLogger("photolog.controls")

PARTITION = 0

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Controls)


class ControlState(msgspec.Struct, frozen=True, kw_only=True):
    """The controls as their events leave them. ``digest`` is that of the last event."""

    controls: Controls = Controls()
    version: int = 0
    digest: str = FIRST_PREV
    position: Position = Position.start(PARTITION)


class ControlLog:
    """Reads the controls, and changes them by command."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._key = log.keys.pipeline(PARTITION)
        self._last = ControlState()

    async def load(self, *, safe: bool = False) -> ControlState:
        """Return the current controls; ``safe`` as in ``Log.load``.

        They are decoded only if they have changed since the last call.
        """
        version, digest, entry_id, state = await self._log.state_of(
            PARTITION, self._key, OF_NO_PHOTO, safe=safe
        )
        if version is None or digest is None or entry_id is None or state is None:
            self._last = await self._fold()
        elif (version, digest) != (b"%d" % self._last.version, self._last.digest.encode()):
            try:
                self._last = ControlState(
                    controls=_decoder.decode(state),
                    version=int(version),
                    digest=digest.decode(),
                    position=Position.of_entry(PARTITION, entry_id),
                )
            except (Corrupt, Unexpected, ValueError) as error:
                logger.warning(
                    "the cached state of the controls is damaged; folding it again: %s", error
                )
                self._last = await self._fold()
        return self._last

    async def execute(
        self, command: ControlCommand, context: Context, *, patience_s: float = PATIENCE_S
    ) -> ControlState:
        """Load the controls, decide, append; start over if another command came between.

        A command that changes nothing returns the controls as they are.

        Raises:
            Rejected: the rules reject the command.
            Unavailable: Redis did not answer within ``patience_s``; the outcome is unknown.
        """
        return await run(
            lambda safe: self.load(safe=safe),
            lambda steered, _: _chained(command, steered, context),
            lambda steered, chained: self._append_to(
                steered, chained, if_full=isinstance(command, PROTECTING)
            ),
            every_load_is_safe=self._log.durability.wait is None,
            doubt=lambda: self._log.answered.doubt(PARTITION),
            subject="the pipeline's controls",
            patience_s=patience_s,
        )

    async def _append_to(
        self, steered: ControlState, chained: Chained, *, if_full: bool
    ) -> ControlState | None:
        """Append what was decided and remember the answer; None on a conflict."""
        if not chained.events:
            return steered
        controls = steered.controls
        for event in chained.events:
            controls = _evolve(controls, event)
        asked = self._log.owner(PARTITION)
        reply = await self._log.append.send(
            AppendRequest(
                partition=PARTITION,
                state_key=self._key,
                photo_id=OF_NO_PHOTO,
                version=steered.version,
                digest=steered.digest,
                chained=chained,
                state=_encoder.encode(controls),
                if_full=if_full,
            )
        )
        if reply[0] != b"appended":
            return None
        position = Position.of_entry(PARTITION, reply[-1])
        self._log.answered.note(position, OF_NO_PHOTO, chained.digest, asked=asked)
        return ControlState(
            controls=controls,
            version=steered.version + len(chained.events),
            digest=chained.digest,
            position=position,
        )

    async def _fold(self) -> ControlState:
        """Fold the events again and put the state back.

        The state of no events is put back too: it is loaded all the time.
        """
        sealed, position = await self._log.sealed_of(PARTITION, OF_NO_PHOTO)
        steered = ControlState()
        for recorded in sealed:
            if isinstance(recorded.event.data, SystemData):
                steered = _with(steered, recorded)
        while True:
            last = await self._log.last_entry(PARTITION)
            async for recorded in self._log.scan(PARTITION, after=position):
                position = recorded.position
                if isinstance(recorded.event.data, SystemData):
                    steered = _with(steered, recorded)
            if max(last, position) == Position.start(PARTITION) or await self._log.restore(
                self._key,
                upto=max(last, position),
                version=steered.version,
                digest=steered.digest,
                last=steered.position,
                state=_encoder.encode(steered.controls),
            ):
                return steered


def _chained(command: ControlCommand, steered: ControlState, context: Context) -> Chained:
    return chain(
        decide(command, steered.controls),
        version=steered.version,
        digest=steered.digest,
        client_id=OF_NO_PHOTO,
        session_id=None,
        context=context,
    )


def _with(steered: ControlState, recorded: Recorded) -> ControlState:
    return ControlState(
        controls=_evolve(steered.controls, recorded.event),
        version=recorded.event.metadata.photo_version,
        digest=codec.digest(recorded.body),
        position=recorded.position,
    )


def _evolve(controls: Controls, event: Event) -> Controls:
    if not isinstance(event.data, SystemData):
        raise TypeError(f"{event.type} is an event of a photo, not of the controls")
    return evolve(controls, event.data, datetime.fromisoformat(event.timestamp))
