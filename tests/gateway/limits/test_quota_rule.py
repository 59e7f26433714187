"""The gateway and the append refuse the same uploads for the same quota."""

import asyncio
import uuid
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.clients.quotas import Quota
from domain.clients.usage import Usage
from domain.rejections import Rejected
from gateway.limits.quotas import refusal
from store.log.log import Log
from store.redis.connection import connect
from tests.conftest import CONTEXT
from tests.store.commands import upload

COUNT = st.integers(0, 6)

USAGES = st.builds(Usage, photos=COUNT, bytes=COUNT, jobs=COUNT)
QUOTAS = st.builds(
    Quota,
    photos=COUNT,
    bytes=st.integers(0, 20),
    jobs=COUNT,
    idempotency_keys=st.integers(0, 2),
    job_bytes=COUNT,
)


async def refused_by_both(
    log: Log, usage: Usage, quota: Quota, size: int, *, keys: int, has_key: bool
) -> tuple[str | None, str | None]:
    """Return the codes with which the gateway and the append refuse an upload of a client."""
    client = uuid.uuid4().hex
    for key in [f"{n}" for n in range(keys)] or [None]:
        command = upload(client_id=client)
        await log.execute(command, client_id=client, context=CONTEXT, idempotency_key=key)
    fields: Any = msgspec.to_builtins(usage)
    await log.redis.hset(log.keys.usage(0, client), mapping=fields)
    used = await log.usage(client)
    assert (used.usage, used.idempotency_keys) == (usage, keys)
    expected = refusal(used, quota, size, has_key=has_key)
    actual = None
    try:
        await log.execute(
            msgspec.structs.replace(upload(client_id=client), file_size=size),
            client_id=client,
            context=CONTEXT,
            idempotency_key="another" if has_key else None,
            quota=quota,
        )
    except Rejected as rejected:
        actual = rejected.code
    return (expected.code if expected else None), actual


def test_gateway_and_append_agree_on_generated_uploads(valkey_url: str, prefix: str) -> None:
    async def opened() -> Log:
        return await Log.open(connect(valkey_url), prefix=prefix)

    with asyncio.Runner() as runner:
        log = runner.run(opened())

        @settings(max_examples=200, deadline=None)
        @given(
            usage=USAGES,
            quota=QUOTAS,
            size=st.integers(1, 8),
            keys=st.integers(0, 2),
            has_key=st.booleans(),
        )
        def agree(usage: Usage, quota: Quota, size: int, keys: int, has_key: bool) -> None:
            both = refused_by_both(log, usage, quota, size, keys=keys, has_key=has_key)
            by_gateway, by_append = runner.run(both)
            assert by_gateway == by_append

        agree()
        runner.run(log.redis.aclose())
