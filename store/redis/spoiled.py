"""Keys under which somebody else has put a value of another type: removed, or at least named.

| kept | what becomes of a key of another type |
|---|---|
| what is made again where it is missing | removed; the same call succeeds later |
| lanes, timers and turns | workers remove it when they prepare the partition, and fill it again |
| ``log`` and ``meta`` | stays: it may be somebody's data, and only an operator can tell |
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec
from redis import exceptions

Remedy = Literal["removed", "prepared", "stays"]

WRONG_TYPE = "WRONGTYPE"
"""In the server's answer, from a script too."""

TYPES = {"string", "list", "set", "zset", "hash", "stream"}

_NAME = re.compile(r"[^{}]*:(?:\{\d{2,5}\}:(\w+)(?=:|$)|(meta)$)", re.ASCII)

_WORDS = {
    "removed": "it was removed and is made again; find out who writes there",
    "prepared": "a worker removes it and fills it again from the log; find out who writes there",
    "stays": (
        "stop whoever writes there, rename the key if its value is needed, delete it, and bring "
        "the log back from its backup"
    ),
}


class Kind(msgspec.Struct, frozen=True):
    """``type`` as Redis names it."""

    type: str
    remedy: Remedy = "removed"


KINDS = {
    "meta": Kind("hash", "stays"),
    "log": Kind("stream", "stays"),
    "id": Kind("string"),
    "photo": Kind("hash"),
    "pipeline": Kind("hash"),
    "session": Kind("string"),
    "sessions": Kind("zset"),
    "ticket": Kind("string"),
    "tickets": Kind("zset"),
    "timers": Kind("zset", "prepared"),
    "foreign": Kind("string"),
    "failing": Kind("zset"),
    "unconfined": Kind("zset"),
    "damaged": Kind("zset"),
    "settled": Kind("string"),
    "rate": Kind("hash"),
    "allowance": Kind("string"),
    "command": Kind("string"),
    "commands": Kind("zset"),
    "sha256": Kind("hash"),
    "usage": Kind("hash"),
    "clients": Kind("hash"),
    "stage": Kind("stream", "prepared"),
    "turns": Kind("zset", "prepared"),
    "waiting": Kind("zset", "prepared"),
    "accounts": Kind("zset", "prepared"),
}
"""By the first word after the hash tag, see ``store.keys``."""


class _Server(Protocol):
    async def execute_command(self, *args: Any, **options: Any) -> Any: ...


def kind_of(key: str) -> Kind | None:
    """What is kept under the key; None if it is none of a log."""
    match = _NAME.match(key)
    return KINDS.get(match[1] or match[2]) if match else None


async def explained(
    server: _Server, error: exceptions.ResponseError, command: Sequence[Any]
) -> exceptions.ResponseError:
    """The error of the command; of a wrong type it names the keys, which are removed if they may.

    Raises:
        RedisError: the server was asked in vain.
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
    """Of a script its keys alone: what clients have sent is among the rest."""
    is_script = str(command[0]) in ("EVAL", "EVALSHA")
    parts = command[3 : 3 + int(command[2])] if is_script else command[1:]
    texts = (
        each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in parts
    )
    return [(text, kind) for text in dict.fromkeys(texts) if (kind := kind_of(text)) is not None]
