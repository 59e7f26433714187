"""How operators steer the pipeline, as the log has it.

| key | type | what |
|---|---|---|
| ``photolog:{00}:log`` | stream | the events, among those of the photos of partition 0 |
| ``photolog:{00}:pipeline`` | hash | ``v`` version, ``d`` digest, ``p`` position, ``s`` state |

The hash is a cache of the fold, as that of a photo is.
"""

import logging
import random
import time
from datetime import datetime

import anyio
import msgspec

from domain.photo.events import FIRST_PREV, Context, Event
from domain.pipeline.control import ControlCommand, Controls, decide, evolve
from domain.rejections import Rejected
from domain.system_events import OF_NO_PHOTO, SystemData
from store.errors import Corrupt, Unavailable, Unexpected
from store.log import codec
from store.log.append import AppendRequest
from store.log.chain import chain
from store.log.log import PATIENCE_S, Log
from store.log.position import Position

logger = logging.getLogger("photolog.controls")

PAUSE_S = 0.1

PARTITION = 0

_encoder = msgspec.msgpack.Encoder(order="deterministic")
_decoder = msgspec.msgpack.Decoder(Controls)


class Steered(msgspec.Struct, frozen=True, kw_only=True):
    """The controls as their events leave them. ``digest`` is that of the last event."""

    controls: Controls = Controls()
    version: int = 0
    digest: str = FIRST_PREV
    position: Position = Position.start(PARTITION)


class ControlLog:
    """Reads the controls and changes them by command."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._key = log.keys.pipeline(PARTITION)
        self._last = Steered()

    async def load(self, *, safe: bool = False) -> Steered:
        """What holds now; decoded only if it has changed since the last call. ``safe`` as in
        ``Log.load``."""
        version, digest, entry_id, state = await self._log.state_of(
            PARTITION, self._key, OF_NO_PHOTO, safe=safe
        )
        if version is None or digest is None or entry_id is None or state is None:
            self._last = await self._fold()
        elif (version, digest) != (b"%d" % self._last.version, self._last.digest.encode()):
            try:
                self._last = Steered(
                    controls=_decoder.decode(state),
                    version=int(version),
                    digest=digest.decode(),
                    position=Position.of_entry(PARTITION, entry_id),
                )
            except (Corrupt, Unexpected, ValueError) as error:
                logger.warning("what operators have said is damaged and folded anew: %s", error)
                self._last = await self._fold()
        return self._last

    async def execute(
        self, command: ControlCommand, context: Context, *, patience_s: float = PATIENCE_S
    ) -> Steered:
        """Load, decide, append; again if another command came between.

        Raises:
            Rejected: the rules refuse the command.
            Unavailable: Redis did not answer within ``patience_s``; the outcome is unknown.
        """
        give_up = time.monotonic() + patience_s
        while True:
            try:
                steered = await self._try(command, context)
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
                await anyio.sleep(PAUSE_S)
                continue
            if steered is not None:
                return steered
            if time.monotonic() > give_up:
                raise Unavailable("others steer the pipeline at the same time, again and again")
            await anyio.sleep(random.uniform(0, PAUSE_S))  # noqa: S311 # not all at once

    async def _try(self, command: ControlCommand, context: Context) -> Steered | None:
        loaded = await self.load()
        try:
            decided = decide(command, loaded.controls)
        except Rejected:
            decided = ()
        if not decided:
            loaded = await self.load(safe=True)
            decided = decide(command, loaded.controls)
        if not decided:
            return loaded
        chained = chain(
            decided,
            version=loaded.version,
            digest=loaded.digest,
            client_id=OF_NO_PHOTO,
            session_id=None,
            context=context,
        )
        controls = loaded.controls
        for event in chained.events:
            controls = _evolve(controls, event)
        asked = self._log.owner(PARTITION)
        reply = await self._log.send(
            AppendRequest(
                partition=PARTITION,
                state_key=self._key,
                photo_id=OF_NO_PHOTO,
                version=loaded.version,
                digest=loaded.digest,
                chained=chained,
                state=_encoder.encode(controls),
            )
        )
        if reply[0] != b"appended":
            return None
        position = Position.of_entry(PARTITION, reply[-1])
        self._log.answered.note(position, OF_NO_PHOTO, chained.digest, asked=asked)
        return Steered(
            controls=controls,
            version=loaded.version + len(decided),
            digest=chained.digest,
            position=position,
        )

    async def _fold(self) -> Steered:
        """Read the events again and put the state back, also that of no events: it is asked for
        all the time."""
        steered, position = Steered(), Position.start(PARTITION)
        while True:
            last = await self._log.last_entry(PARTITION)
            async for recorded in self._log.scan(PARTITION, after=position):
                event, position = recorded.event, recorded.position
                if isinstance(event.data, SystemData):
                    steered = Steered(
                        controls=_evolve(steered.controls, event),
                        version=event.metadata.photo_version,
                        digest=codec.digest(recorded.body),
                        position=position,
                    )
            if max(last, position) == Position.start(PARTITION) or await self._log.restore(
                self._key,
                upto=max(last, position),
                version=steered.version,
                digest=steered.digest,
                last=steered.position,
                state=_encoder.encode(steered.controls),
            ):
                return steered


def _evolve(controls: Controls, event: Event) -> Controls:
    if not isinstance(event.data, SystemData):
        raise TypeError(f"{event.type} is of a photo")
    return evolve(controls, event.data, datetime.fromisoformat(event.timestamp))
