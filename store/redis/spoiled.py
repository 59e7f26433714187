"""Handles keys whose type another program has changed: removes them, or at least names them.

| key | what happens if its type was changed |
|---|---|
| data that is rebuilt when missing | removed; the same call succeeds later |
| lanes, timers and turns | workers remove it when they prepare the partition, and refill it |
| ``log`` and ``meta`` | stays: it may be another program's data, and only an operator can tell |
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec
from redis import exceptions

Remedy = Literal["removed", "prepared", "stays"]

WRONG_TYPE = "WRONGTYPE"
"""Begins the server's error, also from a script."""

TYPES = {"string", "list", "set", "zset", "hash", "stream"}

_NAME = re.compile(r"[^{}]*:(?:\{\d{2,5}\}:([\w-]+)(?=:|$)|(meta)$)", re.ASCII)

_WORDS = {
    "removed": "it was removed and will be rebuilt; find out which program writes there",
    "prepared": "a worker will rebuild it from the log; find out which program writes there",
    "stays": (
        "stop the program that writes there, rename the key if its value is needed, otherwise "
        "delete it, and restore the log from its backup"
    ),
}


class Kind(msgspec.Struct, frozen=True):
    """The ``type`` a key must have, by Redis's name, and what is done if it has another one."""

    type: str
    remedy: Remedy = "removed"


KINDS = {
    "meta": Kind("hash", "stays"),
    "log": Kind("stream", "stays"),
    "id": Kind("string"),
    "trimmed": Kind("string"),
    "evicted": Kind("string"),
    "archiving": Kind("string"),
    "unarchived": Kind("string"),
    "doubted": Kind("string"),
    "photo": Kind("hash"),
    "pipeline": Kind("hash"),
    "session": Kind("string"),
    "sessions": Kind("zset"),
    "ticket": Kind("string"),
    "tickets": Kind("zset"),
    "stream-ticket": Kind("string"),
    "stream-tickets": Kind("zset"),
    "sign-in": Kind("string"),
    "sign-ins": Kind("zset"),
    "sign-out": Kind("string"),
    "timers": Kind("zset", "prepared"),
    "foreign": Kind("string"),
    "failing": Kind("zset"),
    "unconfined": Kind("zset"),
    "undecoding": Kind("zset"),
    "damaged": Kind("zset"),
    "following": Kind("zset"),
    "stages": Kind("zset"),
    "losses": Kind("zset"),
    "running": Kind("string"),
    "settled": Kind("string"),
    "rate": Kind("hash"),
    "allowance": Kind("string"),
    "uses": Kind("string"),
    "webhooks": Kind("hash"),
    "webhook": Kind("string"),
    "deliveries": Kind("stream"),
    "command": Kind("string"),
    "commands": Kind("zset"),
    "sha256": Kind("hash"),
    "hashes": Kind("hash"),
    "refolded": Kind("hash"),
    "usage": Kind("hash"),
    "upload-session": Kind("hash"),
    "clients": Kind("hash"),
    "stage": Kind("stream", "prepared"),
    "turns": Kind("zset", "prepared"),
    "waiting": Kind("zset", "prepared"),
    "accounts": Kind("zset", "prepared"),
}
"""The kinds by the first word after the hash tag, see ``store.keys``."""


class _Server(Protocol):
    async def execute_command(self, *args: Any, **options: Any) -> Any: ...


def kind_of(key: str) -> Kind | None:
    """Return the kind of the key; None if it is not a log's key."""
    match = _NAME.match(key)
    return KINDS.get(match[1] or match[2]) if match else None


async def explained(
    server: _Server, error: exceptions.ResponseError, command: Sequence[Any]
) -> exceptions.ResponseError:
    """Return the command's error; for a wrong type, one that names the keys, removed if allowed.

    Raises:
        RedisError: the server did not answer.
    """
    if WRONG_TYPE not in str(error):
        return error
    said: list[str] = []
    for key, kind in _keys_in(command):
        found = await server.execute_command("TYPE", key)
        found = found.decode() if isinstance(found, bytes) else str(found)
        if found == kind.type or found not in TYPES:
            continue
        if kind.remedy == "removed":
            await server.execute_command("PEXPIRE", key, 0)
        said.append(f"{key} holds a {found} and not a {kind.type}: {_WORDS[kind.remedy]}")
    return exceptions.ResponseError(f"{WRONG_TYPE} {'; '.join(said)}") if said else error


def _keys_in(command: Sequence[Any]) -> list[tuple[str, Kind]]:
    """Return the log's keys in the command; not in a script's arguments, which clients send."""
    is_script = str(command[0]) in ("EVAL", "EVALSHA")
    parts = command[3 : 3 + int(command[2])] if is_script else command[1:]
    texts = (
        each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in parts
    )
    return [(text, kind) for text in dict.fromkeys(texts) if (kind := kind_of(text)) is not None]
