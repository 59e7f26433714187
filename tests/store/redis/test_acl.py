"""The ACL allows exactly the commands that the code sends."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis.commands.core import CoreCommands

import store
from store.redis.acl import COMMANDS, ON_A_CLUSTER, TO_WAIT

FOLDER = Path(store.__file__).parent
CLIENTS = ("redis", "pipe", "pubsub", "untyped")
"""Names of clients in the code, without a leading underscore."""

CONTAINERS = ("config", "cluster", "memory", "xgroup", "xinfo")
"""Commands that are allowed by subcommand."""

BY_ITSELF = {"asking", "select", "unsubscribe"}
"""Commands that the cluster routing or the library sends."""

NOT_ALLOWED = {"config|get", "scan"}
"""Commands that no role needs: one is optional, the other only for a recovery of the log."""


def command(*words: str) -> str:
    first, *rest = (word.lower() for word in words)
    return f"{first}|{rest[0]}" if first in CONTAINERS else first


def sent_by_scripts() -> Iterator[str]:
    for path in FOLDER.rglob("*.lua"):
        for found in re.finditer(r'\bp?call\("(\w+)"(?:, "(\w+)")?', path.read_text("utf-8")):
            yield command(*filter(None, found.groups()))


def sent_by_code() -> Iterator[str]:
    for path in FOLDER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                yield from _sent(node, node.func)
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="_send" | "in_a_row") | ast.Name(id="_replies"),
                    args=args,
                ):
                    for each in args:
                        match each:
                            case ast.Tuple(elts=[ast.Constant(value=str(word)), *_]):
                                yield command(*word.split())
                            case _:
                                pass
                case _:
                    pass


def _sent(call: ast.Call, method: ast.Attribute) -> Iterator[str]:
    of: Any = method.value
    name = str(getattr(of, "attr", None) or getattr(of, "id", "")).removeprefix("_")
    match call.args:
        case [ast.Constant(value=str(words)), *_] if method.attr in ("execute_command", "_run"):
            yield command(*words.split())
        case _ if name in CLIENTS and hasattr(CoreCommands, method.attr):
            yield command(*method.attr.split("_"))
        case _ if name in CLIENTS and method.attr == "subscribe":
            yield method.attr
        case _:
            pass


def test_the_acl_allows_exactly_the_commands_that_are_sent() -> None:
    sent = {*sent_by_scripts(), *sent_by_code(), *BY_ITSELF} - NOT_ALLOWED

    assert sent == {*COMMANDS, *ON_A_CLUSTER, *TO_WAIT}
