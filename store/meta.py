"""What a log is: its id and how many partitions it has, fixed when it is created.

| key | type | what |
|---|---|---|
| ``photolog:meta`` | hash | ``id``, ``partitions`` |
"""

import uuid

from store.client import Client, translated
from store.errors import Unfit
from store.keys import Keys


async def create(redis: Client, keys: Keys, partitions: int) -> tuple[str, int]:
    """Id and partitions of the log, which is made with so many ``partitions`` if there is none.

    Raises:
        Unfit: something else is there under the log's name; it is left as it is.
        Unavailable: no answer.
    """
    with translated():
        found = await redis.lua("create")(keys=[keys.meta], args=[uuid.uuid4().hex, partitions])
    match found:
        case [bytes(log_id), bytes(count)] if count.isdigit() and int(count) > 0:
            return log_id.decode(), int(count)
        case _:
            raise Unfit(
                f"{keys.meta} is there and is not of a log of ours: another program's data, which "
                "we leave alone; use another server, or a database of one's own"
            )
