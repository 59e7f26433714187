"""What an ACL user needs: no more than this, and on no other keys than the log's.

``ACL SETUSER photolog on >PASSWORD ~photolog:* &photolog:* +get +set …``: the rules of ``acl``.
Those of scripts are among them, because a server checks them too.
"""

from store.keys import DEFAULT_PREFIX

COMMANDS = (
    # the connection, and what the server says of itself
    *("ping", "select", "info", "time", "memory|usage"),
    # the log, the lanes and their groups
    *("xadd", "xdel", "xlen", "xrange", "xrevrange", "xread", "xreadgroup", "xack", "xpending"),
    *("xclaim", "xautoclaim", "xgroup|create", "xgroup|setid", "xgroup|delconsumer"),
    *("xinfo|stream", "xinfo|groups", "xinfo|consumers"),
    # photos, content hashes, commands already done, the rates
    *("hget", "hmget", "hset", "hdel", "get", "set", "pexpire", "exists", "type"),
    # sessions and tickets
    *("getdel", "unlink", "pttl"),
    # the timers, whose turn it is, and idempotency keys, counted
    *("zadd", "zrem", "zrange", "zrangebyscore", "zscore", "zcard", "zcount"),
    # scripts
    *("eval", "evalsha"),
    # the doorbell
    *("publish", "subscribe", "unsubscribe"),
)
"""Of every server."""

ON_A_CLUSTER = ("cluster|slots", "asking")

TO_WAIT = "wait", "waitaof"
"""Where PHOTOLOG_APPEND_WAIT_REPLICAS is set; Redis 7.0 does not know it."""


def acl(prefix: str = DEFAULT_PREFIX, *more: str) -> list[str]:
    """The rules of the user, but for name and password; ``more`` commands where they are needed."""
    commands = *COMMANDS, *more
    return [f"~{prefix}:*", f"&{prefix}:*", *(f"+{command}" for command in commands)]
