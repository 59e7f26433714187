"""Record what becomes of upload sessions that no request ends.

| session | event |
|---|---|
| open, idle for ``upload_session_idle_s``, all photos processed | ``session.expired`` |
| closed, all photos processed | ``session.completed`` |

The read model has an index of each kind, so a look costs no more the more sessions there are. Every
gateway looks, and the first records the event: a command that has missed an event of its session
changes nothing (``domain.sessions.session``).
"""

import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio

from domain.moments import iso
from domain.photo.events import Context
from domain.sessions.session import CompleteSession, ExpireSession, SessionCommand
from gateway.commands import SOURCE
from gateway.dependencies import Dependencies
from gateway.sessions.changing import known_of
from projections.models import session_list
from projections.models.session_list import Due
from store.errors import StoreError
from store.log.position import Position
from store.log.sessions import SessionLog
from store.outage import START_S, Outage

logger = logging.getLogger("photolog.gateway")

LOOK_S = 1.0

AT_ONCE = 50
"""The most sessions of each kind in one look: a first look may find all of the past."""


class SessionKeeper:
    """Ends the sessions that are due, for one gateway."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._log = SessionLog(deps.log)
        self._outage = Outage(logger, "upload sessions are not ended", patient_s=START_S)

    @asynccontextmanager
    async def running(self, _: Any = None) -> AsyncGenerator[None]:
        """End sessions inside the block: part of the application's lifespan."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._deps.background.keep, "sessions", self._run)
            yield
            tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        while True:
            await anyio.sleep(LOOK_S)
            try:
                await self.look(datetime.now(UTC))
            except StoreError as error:  # there is no read model yet
                self._outage.note(error)

    async def look(self, now: datetime) -> None:
        """End the sessions that are due at ``now``; raises StoreError if there is no read model."""
        reader, idle_s = self._deps.reader, self._deps.limits.upload_session_idle_s
        due = [(each, False) for each in await reader.query(session_list.done, AT_ONCE)]
        if idle_s > 0:
            before = iso(now - timedelta(seconds=idle_s))
            due += [(each, True) for each in await reader.query(session_list.idle, before, AT_ONCE)]
        failed = None
        for each, is_idle in due:
            try:
                await self._end(each, is_idle, now)
            except StoreError as error:  # the others may be on other servers
                failed = error
        if failed is None:
            self._outage.over()
        else:
            self._outage.note(failed)

    async def _end(self, due: Due, is_idle: bool, now: datetime) -> None:
        line = due.line
        known = await known_of(self._deps, line.client_id, line.session_id)
        partition = self._deps.log.partition_of(line.client_id)
        kind, upto = (ExpireSession, due.active) if is_idle else (CompleteSession, due.changed)
        command: SessionCommand = kind(
            client_id=line.client_id,
            session_id=line.session_id,
            totals=line.totals,
            seen=due.events,
            upto=str(Position(partition, *upto)),
        )
        context = Context(now=now, source=SOURCE, actor=SOURCE, trace_id=uuid.uuid4().hex)
        await self._log.execute(command, context, without=known.without)
