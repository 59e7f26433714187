"""The rules of an ACL user: the commands that the log needs, on its own keys only.

``ACL SETUSER photolog on >PASSWORD ~photolog:* &photolog:* +get +set …``: the rules of ``acl``.
They include the commands inside scripts, because a server checks those too.
"""

from store.keys import DEFAULT_PREFIX

COMMANDS = (
    # the connection, and the server's description of itself
    *("ping", "select", "info", "time", "memory|usage"),
    # the log, the lanes and their groups
    *(
        "xadd",
        "xdel",
        "xtrim",
        "xlen",
        "xrange",
        "xrevrange",
        "xread",
        "xreadgroup",
        "xack",
        "xpending",
    ),
    *("xclaim", "xautoclaim", "xgroup|create", "xgroup|setid", "xgroup|delconsumer"),
    *("xinfo|stream", "xinfo|groups", "xinfo|consumers"),
    # photos, content hashes, earlier commands, the rates
    *("hget", "hmget", "hset", "hdel", "get", "set", "pexpire", "exists", "type"),
    *("hincrby", "hlen", "hscan", "rename", "persist"),
    # sessions and tickets
    *("getdel", "unlink", "pttl"),
    # the timers, the turns, and the count of idempotency keys
    *("zadd", "zrem", "zrange", "zrangebyscore", "zscore", "zcard", "zcount"),
    # scripts
    *("eval", "evalsha"),
    # the doorbell
    *("publish", "subscribe", "unsubscribe"),
)
"""Needed on every server."""

ON_A_CLUSTER = ("cluster|slots", "asking")

TO_WAIT = "wait", "waitaof"
"""Needed with PHOTOLOG_APPEND_WAIT_REPLICAS; Redis 7.0 does not know ``waitaof``."""


def acl(prefix: str = DEFAULT_PREFIX, *more: str) -> list[str]:
    """Return the user's rules without name and password, with ``more`` commands if needed."""
    commands = *COMMANDS, *more
    return [f"~{prefix}:*", f"&{prefix}:*", *(f"+{command}" for command in commands)]
