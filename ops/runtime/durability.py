"""Work out what the setting ``append_wait_replicas`` promises on the servers that are running."""

from contextlib import suppress

import msgspec

from ops.config.settings import Settings
from ops.errors import UserError
from ops.process.embedded_valkey import url_in
from store.errors import StoreError, UnsuitableServer
from store.keys import Keys
from store.redis import guarantee
from store.redis.connection import Client
from store.redis.guarantee import Guarantee


async def guarantee_of(redis: Client, settings: Settings, prefix: str, *, waits: bool) -> Guarantee:
    """Return what appends wait for.

    A caller that only reads passes ``waits=False``: it works with any number of replicas, and gets
    the risk if the server reports it. The server of ``photolog up`` runs on the same machine as
    everything else, so the loss of its disk needs no warning.

    Raises:
        UserError: the setting needs information that the server does not provide.
        Unavailable: the server does not answer, or there are too few replicas.
    """
    replicas = settings.append_wait_replicas
    keys, timeout_s = Keys(prefix), settings.append_wait_s
    if not waits:
        with suppress(StoreError):
            given = await guarantee.guarantee(
                redis, keys, replicas=replicas, timeout_s=timeout_s, tries=False
            )
            return msgspec.structs.replace(given, wait=None)
        return Guarantee()
    try:
        given = await guarantee.guarantee(redis, keys, replicas=replicas, timeout_s=timeout_s)
    except UnsuitableServer as error:
        if replicas is None:
            raise
        raise UserError(f"PHOTOLOG_APPEND_WAIT_REPLICAS: {error}") from error
    if settings.redis_url in (None, url_in(settings.folder / "valkey")):
        return msgspec.structs.replace(given, risk="")
    return given
